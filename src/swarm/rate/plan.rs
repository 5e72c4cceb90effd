//! Which rate holds when: a usual one, and others for some hours of each day.

/// How far a place's clock is ahead of UTC, in minutes; negative to the west. Daylight saving isn't followed: a plan
/// that must, is changed twice a year.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// From -24 to 24 hours.
    pub ahead_min: i32,
}

/// A part of each day. One that ends before it begins goes on past midnight; one that ends when it begins is the whole day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Minute of the day that it begins with.
    pub from_min: u16,
    /// Minute of the day before which it ends.
    pub to_min: u16,
    /// Bytes a second then; `None`: as many as can be.
    pub rate: Option<u64>,
}

/// A rate for each time of the day, in bytes a second. The default limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// When no hours say otherwise; `None`: as many as can be.
    pub usual: Option<u64>,
    /// The first that the time is in, decides.
    pub hours: Vec<Hours>,
    /// Where the hours are told.
    pub zone: Zone,
}

impl Plan {
    /// Whether it never limits anything.
    pub fn is_open(&self) -> bool {
        self.usual.is_none() && self.hours.iter().all(|hours| hours.rate.is_none())
    }

    /// The rate at a moment, in seconds since 1970 (UTC); `None`: as many as can be.
    pub fn rate_at(&self, unix_s: u64) -> Option<u64> {
        let utc_min = i64::try_from(unix_s / 60 % (24 * 60)).unwrap_or_default();
        let minute = (utc_min + i64::from(self.zone.ahead_min)).rem_euclid(24 * 60);
        let minute = u16::try_from(minute).unwrap_or_default();
        let found = self.hours.iter().find(|hours| hours.hold(minute));
        found.map_or(self.usual, |hours| hours.rate)
    }
}

impl Hours {
    fn hold(&self, minute: u16) -> bool {
        if self.from_min < self.to_min {
            (self.from_min..self.to_min).contains(&minute)
        } else {
            minute >= self.from_min || minute < self.to_min
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1970-01-02 at a time of the day in UTC.
    fn at(hour: u64, minute: u64) -> u64 {
        86_400 + hour * 3600 + minute * 60
    }

    fn plan(zone_h: i32) -> Plan {
        let working = Hours { from_min: 8 * 60, to_min: 18 * 60, rate: Some(2) };
        let night = Hours { from_min: 22 * 60 + 30, to_min: 5 * 60, rate: None };
        Plan { usual: Some(20), hours: vec![working, night], zone: Zone { ahead_min: zone_h * 60 } }
    }

    #[test]
    fn hours_begin_with_their_minute_and_end_before_theirs_also_past_midnight() {
        let plan = plan(0);
        let rates = [at(7, 59), at(8, 0), at(17, 59), at(18, 0), at(22, 29), at(22, 30), at(0, 0), at(4, 59), at(5, 0)];
        let expected = [Some(20), Some(2), Some(2), Some(20), Some(20), None, None, None, Some(20)];
        assert_eq!(rates.map(|at| plan.rate_at(at)), expected);
    }

    #[test]
    fn hours_are_those_of_the_zone() {
        assert_eq!(plan(1).rate_at(at(7, 0)), Some(2));
        assert_eq!(plan(-10).rate_at(at(18, 0)), Some(2));
        assert_eq!(plan(-10).rate_at(at(8, 30)), None, "half past ten in the evening of the day before");
    }

    #[test]
    fn a_plan_without_limits_is_open_and_whole_days_are_possible() {
        assert!(Plan::default().is_open());
        assert!(!plan(0).is_open());
        let day = Hours { from_min: 60, to_min: 60, rate: Some(7) };
        let plan = Plan { hours: vec![day], ..Plan::default() };
        assert_eq!([at(0, 0), at(1, 0), at(23, 59)].map(|at| plan.rate_at(at)), [Some(7); 3]);
    }
}
