//! Process of `hookgate run`: config, log, runtime and exit codes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::document::report::ReportStyle;
use tokio::sync::oneshot;
use tracing::Level;

use crate::app::error::StartError;
use crate::app::gate_process::{GateProcess, ProcessSignals, watch};
use crate::app::running_gate::RunningGate;
use crate::app::succession::command_mode::CommandMode;
use crate::app::succession::control::{ControlSocket, control_path};
use crate::app::succession::spawn::ProgramFile;
use crate::app::succession::successor::Predecessor;
use crate::app::succession::supervisor::{leave_supervisor, play};
use crate::app::{hardening, systemd};
use crate::config::{self, LoadedConfig};
use crate::model::error::chain;
use crate::record::log::LineLogger;
use crate::record::tracing_layer;

/// Exit code for an invalid config; systemd does not restart the service then (`RestartPreventExitStatus=`).
const EXIT_CONFIG: u8 = 2;

/// Runs the gate until SIGTERM or SIGINT. Exit code 0: stopped by a signal; 1: could not start; 2: the config is
/// invalid.
pub(crate) fn run(path: &Path) -> ExitCode {
    let mode = CommandMode::from_environment();
    if let Some(code) = play(mode) {
        return code;
    }
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
    match serve(loaded, path, mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Binds the control socket. Without it the gate cannot be upgraded by a command, and its restart waits for the drain.
fn bind_control(app: &RunningGate, path: PathBuf) -> Option<ControlSocket> {
    let shown = path.display().to_string();
    let bound = ControlSocket::bind(path);
    if let Err(error) = &bound {
        app.log(Level::WARN, "cannot bind the control socket", |line| {
            line.text("path", &shown);
            line.message("error", &chain(error));
        });
    }
    bound.ok()
}

fn serve(
    loaded: LoadedConfig,
    path: &Path,
    mode: CommandMode,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let program = ProgramFile::find();
    // Before any thread starts, because it changes the environment.
    let handed = systemd::listeners()?;
    let logger =
        tracing_layer::init(&loaded.config.log, systemd::stderr()).map_err(StartError::Log)?;
    let ended = run_gate(loaded, path, mode, program, handed, Arc::clone(&logger));
    // A gate that stopped has closed its log already. After a failed start, lines may still wait.
    logger.close();
    ended
}

/// Runs the gate until it has to stop, and returns the error of a failed start.
fn run_gate(
    loaded: LoadedConfig,
    path: &Path,
    mode: CommandMode,
    program: ProgramFile,
    handed: Vec<TcpListener>,
    logger: Arc<LineLogger>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let runtime = runtime()?;
    // Spawned, so that the workers do the work and not this thread beside them.
    let path = path.to_owned();
    let (leave, left) = oneshot::channel::<oneshot::Sender<std::io::Result<()>>>();
    let main = runtime.spawn(async move {
        // Before the first listener is logged: a script that waits for that line may send a signal at once, and a
        // signal without a handler ends the process.
        let signals = ProcessSignals::listen()?;
        let control = control_path();
        let predecessor = match (mode.is_successor, &control) {
            (true, _) => Some(Predecessor::of_stdin(mode.is_worker()).await?),
            (false, Some(path)) => Predecessor::find(path, mode.is_worker()).await,
            (false, None) => None,
        };
        let app = RunningGate::start_on(loaded, logger, handed, predecessor).await?;
        let control = control.and_then(|path| bind_control(&app, path));
        let process = GateProcess {
            path,
            program,
            signals,
            control,
            leave: mode.is_worker().then_some(leave),
        };
        watch(app, process).await;
        Ok(())
    });
    // On this thread, because the signal that ends this process with its supervisor belongs to it.
    let ended = runtime.block_on(async {
        tokio::pin!(main);
        tokio::select! {
            ended = &mut main => return ended,
            left = left => {
                if let Ok(answer) = left {
                    let _ = answer.send(leave_supervisor());
                }
            }
        }
        main.await
    })?;
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
