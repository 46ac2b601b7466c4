//! Schedules in plain Danish, for croner, which knows other languages. Five fields have no seconds and no years, which its
//! phrases name all the same.

/// Danish.
#[derive(Debug, Clone, Copy)]
pub(super) struct Danish;

impl croner::describe::Language for Danish {
    fn every_minute(&self) -> &'static str {
        "hvert minut"
    }

    fn every_second_phrase(&self) -> &'static str {
        "hvert sekund"
    }

    fn every_x_minutes(&self, step: u16) -> String {
        format!("hvert {step}. minut")
    }

    fn every_x_seconds(&self, step: u16) -> String {
        format!("hvert {step}. sekund")
    }

    fn every_x_hours(&self, step: u16) -> String {
        format!("i hver {step}. time")
    }

    fn every_minute_of_every_x_hours(&self, step: u16) -> String {
        format!("hvert minut i hver {step}. time")
    }

    fn at_time(&self, time: &str) -> String {
        format!("kl. {time}")
    }

    fn at_time_and_every_x_seconds(&self, time: &str, step: u16) -> String {
        format!("kl. {time}, hvert {step}. sekund")
    }

    fn at_time_at_second(&self, time: &str, second: &str) -> String {
        format!("kl. {time}, i sekund {second}")
    }

    fn at_phrase(&self, phrase: &str) -> String {
        phrase.to_owned()
    }

    fn on_phrase(&self, phrase: &str) -> String {
        phrase.to_owned()
    }

    fn in_phrase(&self, phrase: &str) -> String {
        format!("i {phrase}")
    }

    fn second_phrase(&self, s: &str) -> String {
        format!("sekund {s}")
    }

    fn minute_phrase(&self, s: &str) -> String {
        format!("minut {s}")
    }

    fn minute_past_every_hour_phrase(&self, s: &str) -> String {
        format!("{s} i hver time")
    }

    fn hour_phrase(&self, s: &str) -> String {
        format!("i time {s}")
    }

    fn year_phrase(&self, s: &str) -> String {
        format!("år {s}")
    }

    fn day_phrase(&self, s: &str) -> String {
        format!("dag {s} i måneden")
    }

    fn the_last_day_of_the_month(&self) -> &'static str {
        "den sidste dag i måneden"
    }

    fn the_weekday_nearest_day(&self, day: &str) -> String {
        format!("hverdagen nærmest dag {day} i måneden")
    }

    fn the_last_weekday_of_the_month(&self, day: &str) -> String {
        format!("den sidste {day} i måneden")
    }

    fn the_nth_weekday_of_the_month(&self, n: u8, day: &str) -> String {
        format!("den {n}. {day} i måneden")
    }

    fn dom_and_dow_if_also(&self, dow: &str) -> String {
        format!("(hvis det også er {dow})")
    }

    fn dom_and_dow_if_also_one_of(&self, dow: &str) -> String {
        format!("(hvis det også er en af: {dow})")
    }

    fn list_conjunction_and(&self) -> &'static str {
        "og"
    }

    fn list_conjunction_or(&self) -> &'static str {
        "eller"
    }

    fn list_conjunction_and_comma(&self) -> &'static str {
        " og"
    }

    fn day_of_week_names(&self) -> [&'static str; 7] {
        ["søndag", "mandag", "tirsdag", "onsdag", "torsdag", "fredag", "lørdag"]
    }

    fn every_past_phrase(&self, every: &str, hours: &str) -> String {
        format!("{every} {hours}")
    }

    fn past_hour_phrase(&self, s: &str) -> String {
        format!("i time {s}")
    }

    fn every_x_months(&self, step: u16) -> String {
        format!("hver {step}. måned")
    }

    fn month_names(&self) -> [&'static str; 12] {
        [
            "januar",
            "februar",
            "marts",
            "april",
            "maj",
            "juni",
            "juli",
            "august",
            "september",
            "oktober",
            "november",
            "december",
        ]
    }
}
