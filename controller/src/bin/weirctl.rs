//! The operator's command; see [`weir_controller::ctl`].

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_controller::ctl::main()
}
