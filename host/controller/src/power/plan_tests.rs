use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A device that answers by a script, and counts how often it was switched.
struct Device {
    reading: Reading,
    switches: Vec<Result<bool, Fault>>,
    unreachable: bool,
    count: usize,
    switched_at: Vec<Mono>,
}

impl Device {
    fn on(switches: Vec<Result<bool, Fault>>) -> Self {
        Self { reading: Reading::On, switches, unreachable: false, count: 0, switched_at: Vec::new() }
    }
}

fn plan(attempts: i64) -> Plan {
    Plan::new(Goal::Off, Bounds::new(attempts, SECOND).unwrap())
}

/// Plays until it is done, over, or has nothing to do for a while.
fn play(plan: &mut Plan, device: &mut Device) -> Mono {
    let mut now = Mono(1_000);
    for _ in 0..1_000 {
        match plan.next(now) {
            Step::Rest => return now,
            Step::Wait(at) if plan.progress() == Progress::Done => return at,
            Step::Wait(at) => now = at,
            Step::Read if device.unreachable => plan.failed(Fault::Unreachable("gone".into()), now),
            Step::Read => plan.read(device.reading, now, now),
            Step::Switch => {
                plan.switching();
                device.count += 1;
                device.switched_at.push(now);
                match device.switches.get(device.count - 1).cloned().unwrap_or(Ok(true)) {
                    Ok(works) => {
                        if works {
                            device.reading = plan.goal().reading();
                        }
                        plan.switched();
                    }
                    Err(fault) => plan.failed(fault, now),
                }
            }
        }
    }
    panic!("it never comes to an end: {plan:?}");
}

fn failed() -> Result<bool, Fault> {
    Err(Fault::Failed("broken".into()))
}

#[test]
fn b2_1_a_retry_count_below_one_is_refused_and_never_a_success() {
    for count in [0, -1, -5, i64::MIN, 101, i64::MAX] {
        let why = Bounds::new(count, SECOND).unwrap_err();
        assert!(why.is_final() && why.to_string().contains("spec.retrycount"), "{why}");
    }
}

#[test]
fn a_machine_that_is_off_already_is_not_switched() {
    let (mut plan, mut device) = (plan(5), Device::on(vec![]));
    device.reading = Reading::Off;
    play(&mut plan, &mut device);
    assert_eq!((plan.progress(), device.count, plan.attempts()), (Progress::Done, 0, 0));
}

#[test]
fn fa_15_it_is_tried_again_after_the_interval() {
    let (mut plan, mut device) = (plan(5), Device::on(vec![failed(), failed(), Ok(true)]));
    play(&mut plan, &mut device);
    assert_eq!((plan.progress(), device.count, plan.attempts()), (Progress::Done, 3, 3));
    assert!(device.switched_at.windows(2).all(|pair| pair[1].since(pair[0]) >= SECOND));
}

#[test]
fn fa_16_an_agent_that_always_fails_is_run_exactly_as_often_as_allowed() {
    for count in [1, 3, 5] {
        let (mut plan, mut device) = (plan(count), Device::on(vec![failed(); 20]));
        play(&mut plan, &mut device);
        assert_eq!((plan.progress(), device.count), (Progress::Failed, count as usize));
    }
}

#[test]
fn b2_8_a_switch_that_claims_success_is_no_success_until_it_reads_back() {
    let (mut plan, mut device) = (plan(3), Device::on(vec![Ok(false); 20]));
    play(&mut plan, &mut device);
    assert_eq!((plan.progress(), device.count), (Progress::Failed, 3));
    assert!(plan.fault().unwrap().to_string().contains("still reads On"));
    assert_eq!(plan.last().unwrap().0, Reading::On);
}

#[test]
fn b2_3_a_limit_counts_as_one_attempt_and_is_told_apart() {
    let timed_out = Err(Fault::TimedOut("late".into()));
    let (mut plan, mut device) = (plan(2), Device::on(vec![timed_out; 20]));
    play(&mut plan, &mut device);
    assert_eq!((plan.progress(), device.count), (Progress::TimedOut, 2));
}

#[test]
fn fa_32_an_unreachable_device_is_tried_as_often_as_allowed_and_never_switched() {
    let (mut plan, mut device) = (plan(4), Device::on(vec![]));
    device.unreachable = true;
    play(&mut plan, &mut device);
    assert_eq!((plan.progress(), plan.attempts(), device.count), (Progress::Failed, 4, 0));
}

#[test]
fn fa_11_what_is_missing_is_waited_for_without_an_attempt() {
    let mut plan = plan(1);
    for at in 0..50 {
        plan.failed(Fault::Missing("Secret a/b does not exist".into()), Mono(at * 10_000));
    }
    assert_eq!((plan.progress(), plan.attempts()), (Progress::Running, 0));
    let mut device = Device::on(vec![]);
    play(&mut plan, &mut device);
    assert_eq!((plan.progress(), plan.fault()), (Progress::Done, None));
}

#[test]
fn fa_34_what_cannot_be_right_ends_at_once() {
    let mut plan = plan(5);
    plan.failed(Fault::Invalid("spec.x".into()), Mono(1));
    assert_eq!((plan.progress(), plan.next(Mono(u64::MAX)), plan.attempts()), (Progress::Failed, Step::Rest, 0));
}

#[test]
fn b2_6_after_a_restart_the_device_is_read_before_anything_else() {
    // The process died during the switch: the next one knows nothing, and the machine is off.
    let (mut first, mut device) = (plan(5), Device::on(vec![]));
    play(&mut first, &mut device);
    let mut second = plan(5);
    assert_eq!(second.next(Mono(1)), Step::Read);
    play(&mut second, &mut device);
    assert_eq!((second.progress(), device.count), (Progress::Done, 1));
}

#[test]
fn fa_30_a_machine_that_somebody_switches_on_again_is_not_off() {
    let (mut plan, mut device) = (plan(2), Device::on(vec![]));
    let again = play(&mut plan, &mut device);
    device.reading = Reading::On;
    assert_eq!(plan.next(again), Step::Read);
    plan.read(Reading::On, again, again);
    assert_eq!(plan.progress(), Progress::Running);
    play(&mut plan, &mut device);
    assert_eq!((plan.progress(), device.count), (Progress::Done, 2));
    // The last attempt is spent: now it stays lost.
    device.reading = Reading::On;
    let late = again + AGAIN * 5;
    plan.read(Reading::On, late, late);
    assert_eq!((plan.progress(), plan.next(late)), (Progress::Failed, Step::Rest));
}
