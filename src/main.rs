//! Arguments to exit code, nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ftps_gateway::app;

/// A TLS-terminating FTPS gateway for the DMZ, in front of FTP servers that cannot be changed.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until a signal ends it. SIGHUP reads the configuration anew, SIGTERM drains, a second SIGTERM or SIGINT
    /// stops.
    Run {
        /// The configuration file.
        #[arg(long, default_value = "gateway.yaml")]
        config: PathBuf,
    },
    /// Say everything that is wrong with a configuration. Opens no socket.
    Check {
        /// The configuration file.
        #[arg(long, default_value = "gateway.yaml")]
        config: PathBuf,
    },
    /// Show what it does: a small plain-FTP server on loopback and the gateway in front of it.
    #[cfg(feature = "demo")]
    Demo(app::DemoOptions),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // `--help` and `--version` come here too, and are no mistake.
            let code = if error.use_stderr() { app::EXIT_USAGE } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(app::EXIT_USAGE),
            };
        }
    };
    match arguments.command {
        Command::Run { config } => app::run(&config),
        Command::Check { config } => app::check(&config),
        #[cfg(feature = "demo")]
        Command::Demo(options) => app::demo(&options),
    }
}
