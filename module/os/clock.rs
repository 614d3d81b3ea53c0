//! The only reader of time. Everybody above is told what time it is.

use std::mem::MaybeUninit;
use std::time::Duration;

use crate::ids::Time;

/// The time now, by a clock that never goes back and doesn't care whether somebody sets the date.
///
/// Source: `CLOCK_MONOTONIC`, which the vDSO reads without entering the kernel (about 20 ns).
pub fn now() -> Time {
    Time(u64::try_from(read(libc::CLOCK_MONOTONIC).as_micros()).unwrap_or(u64::MAX))
}

/// The Unix time at [`Time::ZERO`], as far as the date is right at this moment. Adding it to a
/// [`Time`] gives the date that TIME and CLIENT LIST speak of.
pub fn wall_at_zero() -> Duration {
    read(libc::CLOCK_REALTIME).saturating_sub(read(libc::CLOCK_MONOTONIC))
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut spec = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is to a timespec that the call fills.
    let returned = unsafe { libc::clock_gettime(clock, spec.as_mut_ptr()) };
    assert_eq!(returned, 0, "both clocks exist on every Linux");
    // SAFETY: the call succeeded, so both fields are set.
    let spec = unsafe { spec.assume_init() };
    let seconds = u64::try_from(spec.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(spec.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_the_date_is_this_century() {
        let before = now();
        let after = now();
        assert!(after >= before);
        let date = wall_at_zero() + after.since(Time::ZERO);
        assert!(date > Duration::from_secs(1_600_000_000), "{date:?}");
    }
}
