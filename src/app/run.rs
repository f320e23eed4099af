//! Process of `hookgate run`: signals, systemd, certificate renewal and exit codes.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::document::report::ReportStyle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;

use crate::admin::controls::{ReloadRejection, ReloadRequest};
use crate::app::error::StartError;
use crate::app::running_gate::RunningGate;
use crate::app::{hardening, systemd};
use crate::config::{self, LoadedConfig};
use crate::model::error::chain;
use crate::record::tracing_layer;

/// Exit code for an invalid config; systemd does not restart the service then (`RestartPreventExitStatus=`).
const EXIT_CONFIG: u8 = 2;

/// Interval at which certificate files are checked for changes.
const CERTIFICATE_PERIOD: Duration = Duration::from_secs(10);

/// Runs the gate until SIGTERM or SIGINT. Exit code 0: stopped by a signal; 1: could not start; 2: the config is
/// invalid.
pub(crate) fn run(path: &Path) -> ExitCode {
    // Before the config is loaded, which reads the secrets.
    if let Err(error) = hardening::deny_dumps() {
        eprintln!("warning: cannot disable core dumps, which may contain secrets: {error}");
    }
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        // There is no log yet, because its format is in the config.
        Err(report) => {
            eprintln!(
                "{}\n{}",
                report.render(ReportStyle::Plain),
                report.summary()
            );
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match serve(loaded, path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn serve(
    loaded: LoadedConfig,
    path: &Path,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Before any thread starts, because it changes the environment.
    let handed = systemd::listeners()?;
    let logger =
        tracing_layer::init(&loaded.config.log, systemd::stderr()).map_err(StartError::Log)?;
    let runtime = runtime()?;
    // Spawned, so that the workers do the work and not this thread beside them.
    let path = path.to_owned();
    let main = runtime.spawn(async move {
        // Before the first listener is logged: a script that waits for that line may send a signal at once, and a
        // signal without a handler ends the process.
        let signals = ProcessSignals::listen()?;
        let app = RunningGate::start_on(loaded, logger, handed).await?;
        watch(app, &path, signals).await;
        Ok(())
    });
    let ended = runtime.block_on(main)?;
    // Blocking tasks may still run; the process waits one second for them at most.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Builds the runtime. With one processor a single thread is faster: work stealing costs time on each request, and
/// there is no other worker to steal.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let is_alone = std::thread::available_parallelism().is_ok_and(|count| count.get() == 1);
    let mut builder = match is_alone {
        true => tokio::runtime::Builder::new_current_thread(),
        false => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

/// Signal handlers. A signal that arrives while the gate starts takes effect as soon as it has started.
struct ProcessSignals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl ProcessSignals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Serves signals, reload requests and certificate checks until the gate has to stop, and stops it.
async fn watch(app: RunningGate, path: &Path, mut signals: ProcessSignals) {
    let recorder = Arc::clone(&app.recorder);
    std::panic::set_hook(Box::new(move |info| recorder.panic(info)));
    systemd::notify_ready(&status(&app));
    // The probe is a task of its own, like a request, so it completes only while the workers take up new tasks.
    let watchdog = systemd::spawn_watchdog(|| async { tokio::spawn(async {}).await.is_ok() });
    let mut asks = app.take_reload_requests();
    let mut certificates = tokio::time::interval(CERTIFICATE_PERIOD);
    loop {
        tokio::select! {
            () = next_signal(&mut signals.hangup) => {
                let _ = reload(&app, path).await;
            }
            Some(ask) = next_reload_request(&mut asks) => {
                let _ = ask.send(reload(&app, path).await);
            }
            () = next_signal(&mut signals.terminate) => break,
            () = next_signal(&mut signals.interrupt) => break,
            _ = certificates.tick() => {
                app.renew_certificates().await;
                app.renew_client_certs().await;
            }
        }
    }
    systemd::notify_stopping(app.shutdown_timeout());
    app.stop().await;
    if let Some(watchdog) = watchdog {
        watchdog.abort();
    }
}

/// Reloads config and certificates, between the notifications that systemd expects of `Type=notify-reload`.
async fn reload(app: &RunningGate, path: &Path) -> Result<usize, ReloadRejection> {
    systemd::notify_reloading();
    let reloaded = app.reload(path).await;
    app.renew_certificates().await;
    // Also where the config was refused: its lists may be new all the same.
    app.renew_client_certs().await;
    systemd::notify_ready(&status(app));
    reloaded
}

/// Waits for the next reload request of an operator.
async fn next_reload_request(asks: &mut Option<Receiver<ReloadRequest>>) -> Option<ReloadRequest> {
    match asks {
        Some(asks) => asks.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for the next signal.
async fn next_signal(signal: &mut Signal) {
    // `None` means that no signal can arrive any more, which only happens when the runtime ends.
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

fn status(app: &RunningGate) -> String {
    let routes = app.generation.load().routes.iter().len();
    format!("{routes} routes on {} listeners", app.addresses.len())
}
