//! The shortest way through: a signed event reaches the app, a forged one does not.

use crate::harness::app::{App, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::{Provider, Sender};

#[tokio::test]
async fn signed_passes_and_forged_does_not() {
    let app = App::start(ok());
    let gate = Gate::start(&Provider::Github.route("hook", &app.url("/in"), "")).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&hook).await.status, 200);
    assert_eq!(app.only_request().body, hook.body);
    let forged = Sender::new(Provider::Github)
        .event("/hook")
        .flip_body_byte();
    assert_eq!(gate.send(&forged).await.status, 401);
    assert_eq!(app.count(), 1);
    assert_eq!(
        gate.client_h2()
            .send(&Sender::new(Provider::Github).event("/hook"))
            .await
            .status,
        200
    );
    assert_eq!(gate.admin("/healthz").await.0, 200);
}
