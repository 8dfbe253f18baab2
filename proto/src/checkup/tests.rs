use super::*;

fn findings() -> Vec<Finding> {
    let (kernel, clock) = (Group("kernel"), Group("clock"));
    vec![
        kernel.fine("release", "6.1.0"),
        kernel.failed("dummy", "no dummy links", "load the module dummy"),
        kernel.skipped("lockdown", "not tried"),
        clock.warning("controller", "3s behind", "let chrony set it"),
    ]
}

#[test]
fn findings_are_ticked_group_by_group_with_what_to_do() {
    let text = "\
kernel
  ✓ release   6.1.0
  ✗ dummy     no dummy links
              → load the module dummy
  - lockdown  not tried

clock
  ! controller  3s behind
                → let chrony set it

1 failed, 1 warning, 1 fine, 1 not looked at
";
    assert_eq!(page(&findings(), false), text);
    let coloured = page(&findings(), true);
    assert!(
        coloured.contains("\u{1b}[31m✗\u{1b}[0m dummy"),
        "{coloured}"
    );
}

#[test]
fn programs_are_told_everything_and_how_much_there_is_of_it() {
    let group = Group("clock");
    let findings = [group.failed("clock", "1970", "set it")];
    let text = r#"{
  "failed": 1,
  "warnings": 0,
  "fine": 0,
  "skipped": 0,
  "findings": [
    {
      "group": "clock",
      "name": "clock",
      "outcome": "failed",
      "detail": "1970",
      "advice": "set it"
    }
  ]
}
"#;
    assert_eq!(json(&findings).expect("JSON"), text);
}

#[test]
fn there_is_colour_on_a_terminal_alone() {
    assert!(is_coloured(true, false, Some("xterm")));
    assert!(!is_coloured(false, false, Some("xterm")));
    assert!(!is_coloured(true, true, Some("xterm")));
    assert!(!is_coloured(true, false, Some("dumb")));
}
