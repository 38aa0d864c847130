//! A panic in the middle of training, which the tests of several ranks ask for (feature
//! `fault-injection`).

use ::train::Event;

/// The variable that names the step.
const PANIC_AT: &str = "DCGAN_PANIC_AT";

/// Panics after the step that the variable `DCGAN_PANIC_AT` names.
pub fn panic_at(event: &Event) {
    let Event::Stepped { step } = event else { return };
    let at = std::env::var(PANIC_AT).ok();
    assert!(at != Some(step.to_string()), "{PANIC_AT}={step}");
}
