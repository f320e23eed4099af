//! The process around a running gate: signals, reloads, upgrades, restarts and certificate renewal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tracing::Level;

use crate::admin::controls::{ReloadRejection, ReloadRequest};
use crate::app::running_gate::RunningGate;
use crate::app::succession::control::{ControlRequest, ControlSocket, ReloadAnswer};
use crate::app::succession::error::SuccessionError;
use crate::app::succession::predecessor::{ClaimReport, depart, greet, negotiate};
use crate::app::succession::spawn::{ProgramFile, spawn_successor};
use crate::app::systemd;
use crate::model::error::chain;

/// Interval at which certificate files are checked for changes.
const CERTIFICATE_PERIOD: Duration = Duration::from_secs(10);

/// How long a process that restarts waits for the next one.
const SUCCESSOR_PATIENCE: Duration = Duration::from_secs(20);

/// Signal handlers. A signal that arrives while the gate starts takes effect as soon as it has started.
pub(super) struct ProcessSignals {
    hangup: Signal,
    stop: StopSignals,
    /// The stop that follows is the first half of a restart.
    restart: Signal,
    upgrade: Signal,
}

impl ProcessSignals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            stop: StopSignals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            restart: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }
}

/// Signals that stop the gate.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    async fn next(&mut self) {
        tokio::select! {
            () = next_signal(&mut self.terminate) => {}
            () = next_signal(&mut self.interrupt) => {}
        }
    }
}

/// Asks the main thread to let the supervisor end. The outcome goes back through the channel.
pub(super) type LeaveSender = oneshot::Sender<oneshot::Sender<std::io::Result<()>>>;

/// The reason why the gate leaves.
enum StopReason {
    /// A signal.
    Stop,
    /// systemd stops the service and starts it again.
    Restart,
    /// A new process has taken over.
    Upgraded(ClaimReport),
}

/// The process around a gate: what may ask it to reload, upgrade or stop.
pub(super) struct GateProcess {
    pub(super) path: PathBuf,
    pub(super) program: ProgramFile,
    pub(super) signals: ProcessSignals,
    pub(super) control: Option<ControlSocket>,
    /// Lets the supervisor of this process end, if it has one.
    pub(super) leave: Option<LeaveSender>,
}

/// Serves signals, reload requests and certificate checks until the gate has to stop, and stops it.
pub(super) async fn watch(app: RunningGate, mut process: GateProcess) {
    let recorder = Arc::clone(&app.recorder);
    std::panic::set_hook(Box::new(move |info| recorder.panic(info)));
    systemd::notify_ready(&status(&app));
    // The probe is a task of its own, like a request, so it completes only while the workers take up new tasks.
    let watchdog = systemd::spawn_watchdog(|| async { tokio::spawn(async {}).await.is_ok() });
    let reason = process.serve(&app).await;
    match reason {
        StopReason::Stop => {
            let delay = app.shutdown_delay();
            // The delay counts toward the time that systemd grants, so that it does not kill the gate during the drain.
            systemd::notify_stopping(delay.unwrap_or_default() + app.shutdown_timeout());
            if let Some(delay) = delay {
                tokio::select! {
                    () = app.delay_shutdown(delay) => {}
                    // A second signal skips the delay, since the operator is in a hurry.
                    () = process.signals.stop.next() => {}
                }
            }
            app.stop().await;
        }
        StopReason::Restart => process.restart(app).await,
        StopReason::Upgraded(report) => {
            // Before the drain, which may take long, and in which the supervisor has no part.
            process.leave_supervisor(&app).await;
            app.drained().await;
            // Before the gate ends: the outcomes of the last exchanges must reach the successor.
            report.end().await;
            app.end().await;
        }
    }
    if let Some(watchdog) = watchdog {
        watchdog.abort();
    }
}

impl GateProcess {
    async fn serve(&mut self, app: &RunningGate) -> StopReason {
        let mut asks = app.take_reload_requests();
        let mut certificates = tokio::time::interval(CERTIFICATE_PERIOD);
        let mut is_restart = false;
        loop {
            let mut upgrade_for = None;
            tokio::select! {
                // In this order: a restart is announced before the stop.
                biased;
                () = next_signal(&mut self.signals.restart) => is_restart = true,
                () = self.signals.stop.next() => {
                    // Without control socket or supervisor no next process could find this one, so this is an ordinary
                    // stop.
                    return match is_restart && self.control.is_some() && self.leave.is_some() {
                        true => StopReason::Restart,
                        false => StopReason::Stop,
                    };
                }
                () = next_signal(&mut self.signals.hangup) => {
                    // A signal has no channel for an answer, so the log has to do.
                    let _ = reload(app, &self.path).await;
                }
                () = next_signal(&mut self.signals.upgrade) => upgrade_for = Some(None),
                Some(ask) = next_reload_request(&mut asks) => {
                    let _ = ask.send(reload(app, &self.path).await);
                }
                request = next_control_request(&mut self.control) => match request {
                    // A process that was started beside this one by mistake must not take its sockets.
                    ControlRequest::Successor(successor) => successor.refuse().await,
                    // A package update has replaced the program, so a reload of the service also upgrades it.
                    ControlRequest::Reload(answer) if self.program.is_replaced() => {
                        upgrade_for = Some(Some(answer));
                    }
                    ControlRequest::Reload(answer) => {
                        let reloaded = reload(app, &self.path).await;
                        let text = |routes| format!("config reloaded: {routes} routes");
                        answer.send(reloaded.map(text).map_err(|error| error.text)).await;
                    }
                },
                _ = certificates.tick() => {
                    app.renew_certificates().await;
                    app.renew_client_certs().await;
                }
            }
            if let Some(answer) = upgrade_for
                && let Some(report) = self.upgrade(app, answer).await
            {
                return StopReason::Upgraded(report);
            }
        }
    }

    /// Starts the program again and hands over to it. Returns `None` if it failed, so that this process goes on.
    async fn upgrade(
        &mut self,
        app: &RunningGate,
        answer: Option<ReloadAnswer>,
    ) -> Option<ClaimReport> {
        app.log(Level::INFO, "upgrade begins", |_| {});
        systemd::notify_reloading();
        let upgraded = tokio::select! {
            upgraded = hand_over(app, &self.program) => upgraded,
            // The signal is handled after this, as it would be at any other time.
            () = self.signals.stop.next() => {
                // The new process ends when the connection closes.
                systemd::notify_ready(&status(app));
                let _ = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::TERM,
                );
                return None;
            }
        };
        match upgraded {
            Ok((pid, report)) => {
                app.log(Level::INFO, "a new process has taken over", |line| {
                    line.count("pid", u64::from(pid));
                });
                if let Some(answer) = answer {
                    answer
                        .send(Ok(format!("upgraded: process {pid} serves")))
                        .await;
                }
                Some(report)
            }
            Err(error) => {
                let text = chain(&error);
                app.log(
                    Level::ERROR,
                    "upgrade failed, this process stays in use",
                    |line| {
                        line.message("error", &text);
                    },
                );
                systemd::notify_ready(&status(app));
                if let Some(answer) = answer {
                    answer.send(Err(format!("upgrade failed: {text}"))).await;
                }
                None
            }
        }
    }

    /// Lets systemd start the next process at once, hands over to it, and finishes what is in flight.
    async fn restart(mut self, app: RunningGate) {
        app.log(Level::INFO, "restart begins", |_| {});
        app.begin_restart();
        if let Err(error) = app.share_store().await {
            // The next process then finds the store in use, so this one must end first.
            app.log(Level::ERROR, "the restart waits for the drain", |line| {
                line.message("error", &chain(&error));
            });
            app.stop().await;
            return;
        }
        self.leave_supervisor(&app).await;
        let following = async {
            let meet = self.meet_successor(&app);
            let met = tokio::time::timeout(SUCCESSOR_PATIENCE, meet).await;
            // Without a process that follows, connections that wait would wait forever.
            app.sockets.close();
            met.ok().flatten()
        };
        let (report, ()) = tokio::join!(following, app.drained());
        if let Some(report) = report {
            report.end().await;
        }
        app.end().await;
    }

    /// Lets the supervisor end, so that systemd considers this process gone.
    async fn leave_supervisor(&mut self, app: &RunningGate) {
        let Some(leave) = self.leave.take() else {
            return;
        };
        let (answer, answered) = oneshot::channel();
        let _ = leave.send(answer);
        if let Ok(Err(error)) = answered.await {
            app.log(Level::WARN, "the restart waits for the drain", |line| {
                line.message("error", &chain(&error));
            });
        }
    }

    /// Waits for the process that systemd starts, and passes everything on to it.
    async fn meet_successor(&mut self, app: &RunningGate) -> Option<ClaimReport> {
        loop {
            match next_control_request(&mut self.control).await {
                ControlRequest::Reload(answer) => {
                    answer.send(Err("hookgate restarts".to_owned())).await;
                }
                ControlRequest::Successor(successor) => {
                    let met = async {
                        let departure = negotiate(app, successor).await?;
                        depart(app, departure, || {}).await
                    };
                    match met.await {
                        Ok(report) => return Some(report),
                        // systemd may start another one.
                        Err(error) => app.log(Level::WARN, "the next process failed", |line| {
                            line.message("error", &chain(&error));
                        }),
                    }
                }
            }
        }
    }
}

/// Starts the program, and hands over to it as soon as it is complete.
async fn hand_over(
    app: &RunningGate,
    program: &ProgramFile,
) -> Result<(u32, ClaimReport), SuccessionError> {
    if std::process::id() == 1 {
        let text =
            "the process is the first of its container, which ends with it: replace the container";
        return Err(SuccessionError::Refused(text.to_owned()));
    }
    let channel = spawn_successor(program).await?;
    let successor = greet(channel).await?;
    let departure = negotiate(app, successor).await?;
    let main = departure.main;
    let report = depart(app, departure, || systemd::notify_main(main)).await?;
    Ok((main, report))
}

async fn next_control_request(control: &mut Option<ControlSocket>) -> ControlRequest {
    match control {
        Some(control) => control.next().await,
        None => std::future::pending().await,
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
