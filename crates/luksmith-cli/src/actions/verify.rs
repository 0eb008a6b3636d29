//! `verify`: every tag of an authenticated volume.

use clap::Args;
use luksmith::{BadRanges, Threads};
use serde_json::json;

use crate::{
    context::{Context, print},
    failure::{Failure, Kind},
    keys::KeyArgs,
    options::{DeviceArgs, LimitArgs},
    progress::{Work, watched},
    size::human,
    unlocking::{Access, Request, TokenArgs},
};

#[derive(Args, Debug)]
pub(crate) struct Verify {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl Verify {
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        let request = Request {
            device: &self.device,
            keys: &self.keys,
            limits: &self.limits,
            tokens: Some(&self.tokens),
        };
        let volume = request.open(Access::Read, context, |options| options)?;
        let path = &self.device.device;
        let work = Work {
            name: "verify",
            device: &path.display().to_string(),
            uses_stdout: context.json,
        };
        let report = watched(context, work, |control| {
            volume.verify(Threads::default(), control)
        })?;
        let report = report.map_err(|error| Failure::from(error).at(path))?;
        if context.json {
            let result = json!({
                "bytes": report.bytes,
                "clean": report.is_clean(),
                "tampered": ranges(&report.tampered),
                "unreadable": ranges(&report.unreadable),
            });
            print(&format!("{result:#}\n"))?;
        } else {
            let mut text = String::new();
            describe(&mut text, "tag does not match", &report.tampered);
            describe(&mut text, "cannot be read", &report.unreadable);
            text.push_str(&format!(
                "{} verified{}.\nA sector put back to an older state together with its older tag is \
                 not found this way.\n",
                human(report.bytes),
                if report.is_clean() { ", every tag matches" } else { "" },
            ));
            print(&text)?;
        }
        if report.is_clean() {
            return Ok(());
        }
        let sectors = report.tampered.sectors() + report.unreadable.sectors();
        Err(Failure::new(Kind::DAMAGED, format!("{sectors} bad sectors of 512 bytes")).at(path))
    }
}

fn ranges(bad: &BadRanges) -> serde_json::Value {
    let listed: Vec<_> = bad
        .ranges()
        .iter()
        .map(|(first, count)| json!({ "first": first.get(), "count": count }))
        .collect();
    json!({ "sectors": bad.sectors(), "ranges": listed, "unlisted": bad.unlisted() })
}

fn describe(text: &mut String, what: &str, bad: &BadRanges) {
    for (first, count) in bad.ranges() {
        let last = first.get() + count - 1;
        text.push_str(&format!("sectors {first} to {last}: {what}\n"));
    }
    if bad.unlisted() > 0 {
        text.push_str(&format!("and {} more ranges: {what}\n", bad.unlisted()));
    }
}
