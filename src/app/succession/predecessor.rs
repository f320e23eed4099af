//! The side of the process that leaves.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::app::running_gate::RunningGate;
use crate::app::succession::channel::SuccessionChannel;
use crate::app::succession::claims::ClaimFeed;
use crate::app::succession::control::WaitingSuccessor;
use crate::app::succession::error::SuccessionError;
use crate::app::succession::frame::SuccessionFrame;

/// Time for each step of the successor. The longest is opening the store, with its migrations.
const STEP: Duration = Duration::from_secs(20);

/// A successor that is complete and waits for this process.
pub(in crate::app) struct Departure {
    channel: SuccessionChannel,
    feed: ClaimFeed,
    /// Process id of the successor.
    pid: u32,
    /// The main process of the service from then on.
    pub(in crate::app) main: u32,
}

/// The task that reports claims until the end of this process.
pub(in crate::app) struct ClaimReport {
    over: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Waits until a new process asks for everything that this one has.
pub(in crate::app) async fn greet(
    mut channel: SuccessionChannel,
) -> Result<WaitingSuccessor, SuccessionError> {
    match channel.receive(STEP).await? {
        SuccessionFrame::Hello { pid, main } => Ok(WaitingSuccessor { channel, pid, main }),
        _ => Err(SuccessionError::Unexpected),
    }
}

/// Passes sockets and store to a successor, and waits until it is complete. After an error this process has everything
/// as before.
pub(in crate::app) async fn negotiate(
    app: &RunningGate,
    successor: WaitingSuccessor,
) -> Result<Departure, SuccessionError> {
    let WaitingSuccessor {
        mut channel,
        pid,
        main,
    } = successor;
    // Before the successor reads spent claims from the store, so that it misses no claim that is spent afterward.
    let feed = ClaimFeed::begin(&app.claim_state());
    let agreed = agree(app, &mut channel).await;
    if let Err(error) = agreed {
        // Before the store is taken back, since the successor may have it open.
        end_process(pid);
        drop(channel);
        app.take_back_store().await;
        return Err(error);
    }
    Ok(Departure {
        channel,
        feed,
        pid,
        main,
    })
}

async fn agree(app: &RunningGate, channel: &mut SuccessionChannel) -> Result<(), SuccessionError> {
    let (names, sockets) = app.sockets.duplicates();
    channel.send(&SuccessionFrame::Sockets { names }).await?;
    channel.send_sockets(&sockets).await?;
    expect(channel, |frame| matches!(frame, SuccessionFrame::WantStore)).await?;
    app.share_store().await?;
    channel.send(&SuccessionFrame::StoreFree).await?;
    expect(channel, |frame| matches!(frame, SuccessionFrame::Ready)).await
}

/// Hands over: the successor accepts connections, and this process no more. `announce` runs in between.
///
/// # Errors
/// The successor ended. This process then has to go on.
pub(in crate::app) async fn depart(
    app: &RunningGate,
    departure: Departure,
    announce: impl FnOnce(),
) -> Result<ClaimReport, SuccessionError> {
    let Departure {
        mut channel,
        mut feed,
        pid,
        ..
    } = departure;
    let going = async {
        feed.send_known(&mut channel).await?;
        channel.send(&SuccessionFrame::Go).await?;
        expect(&mut channel, |frame| {
            matches!(frame, SuccessionFrame::Serving)
        })
        .await
    };
    if let Err(error) = going.await {
        end_process(pid);
        app.take_back_store().await;
        return Err(error);
    }
    // Only now: systemd watches the new main process from here on, and that process already serves.
    announce();
    // Before the drain: from here on the files of the sockets belong to the successor.
    app.begin_departure();
    // It goes on without this message too, but without notifying systemd.
    let _ = channel.send(&SuccessionFrame::MainProcess).await;
    let (over, is_over) = oneshot::channel();
    let task = tokio::spawn(feed.forward(channel, is_over));
    Ok(ClaimReport { over, task })
}

impl ClaimReport {
    /// Sends what is left, and lets the successor know that this process has ended its exchanges.
    pub(in crate::app) async fn end(self) {
        let _ = self.over.send(());
        // Bounded, since a successor that hangs must not keep this process alive.
        let _ = tokio::time::timeout(STEP, self.task).await;
    }
}

async fn expect(
    channel: &mut SuccessionChannel,
    is_expected: impl FnOnce(&SuccessionFrame) -> bool,
) -> Result<(), SuccessionError> {
    match channel.receive(STEP).await? {
        frame if is_expected(&frame) => Ok(()),
        SuccessionFrame::Refused { text } => Err(SuccessionError::Refused(text)),
        _ => Err(SuccessionError::Unexpected),
    }
}

/// Ends a successor that failed. It may hang, and must not hold the store.
fn end_process(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    // Never a group or the init process: the id comes from another program.
    if let Some(pid) = pid.filter(|pid| !pid.is_init()) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
