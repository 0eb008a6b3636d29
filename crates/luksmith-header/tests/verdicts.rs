//! Every changed header gets cryptsetup's verdict: those on record, and, where cryptsetup is
//! installed, its own again.

#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes out of bounds should stop there"
)]

#[path = "verdicts/program.rs"]
mod program;

use std::{collections::BTreeMap, env, fmt::Write as _, fs, sync::OnceLock};

use luksmith_block::{MemDevice, SectorSize};
use luksmith_header::{Header, Limits, luks2::Side};
use luksmith_testkit::mangled::{Base, Recipe, Repair, Verdict, recipes, record_path, recorded};

fn bases() -> BTreeMap<Base, Vec<u8>> {
    Base::ALL.map(|base| (base, base.image())).into()
}

fn read(image: &[u8]) -> Result<Header, luksmith_header::Error> {
    let device = MemDevice::from_bytes(image, SectorSize::S512);
    Header::read(&device, &Limits::default())
}

/// What is found in the image of a recipe.
struct Judged {
    recipe: String,
    /// The copy chosen and the size of its header, where it is LUKS2; or why it is refused.
    ours: Result<Option<(Side, u64)>, String>,
    wrote: bool,
}

/// Every recipe cooked and read, once for all tests: the images are megabytes of checksums.
fn judged() -> &'static [Judged] {
    static ALL: OnceLock<Vec<Judged>> = OnceLock::new();
    ALL.get_or_init(|| {
        let bases = bases();
        let judge = |recipe: Recipe| {
            let image = recipe.cook(&bases[&recipe.base]);
            let device = MemDevice::from_bytes(&image, SectorSize::S512);
            let ours = match Header::read(&device, &Limits::default()) {
                Ok(Header::Luks2(header)) => {
                    let binary = header.binary();
                    Ok(Some((binary.side(), binary.hdr_size())))
                }
                Ok(_) => Ok(None),
                Err(error) => Err(error.to_string()),
            };
            Judged {
                recipe: recipe.name,
                ours,
                // The device does not see a tail of less than a sector.
                wrote: !image.starts_with(&device.to_vec()),
            }
        };
        recipes().into_iter().map(judge).collect()
    })
}

/// Recipes where our verdict is another than cryptsetup's: `refused` or `accepted`, and why.
fn differences() -> BTreeMap<String, String> {
    let path = record_path().with_file_name("differences.txt");
    let text = fs::read_to_string(path).expect("the list of differences");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, rest) = line.split_once('\t').expect("name, verdict, reason");
            let (verdict, reason) = rest.split_once('\t').expect("name, verdict, reason");
            assert!(!reason.is_empty(), "{name} has no reason");
            (name.to_string(), verdict.to_string())
        })
        .collect()
}

#[test]
fn at_least_500_recipes_are_on_record_and_no_record_lacks_its_recipe() {
    let names: Vec<String> = recipes().into_iter().map(|recipe| recipe.name).collect();
    assert!(names.len() >= 500, "{} recipes", names.len());
    let mut on_record = recorded();
    for name in &names {
        assert!(
            on_record.remove(name).is_some(),
            "{name} has no verdict on record"
        );
    }
    assert_eq!(on_record.keys().collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn no_header_is_accepted_that_cryptsetup_refuses_and_each_refusal_beyond_is_listed() {
    let on_record = recorded();
    let mut listed = differences();
    let mut wrong = String::new();
    for Judged { recipe, ours, .. } in judged() {
        let (verdict, why) = match (ours, on_record[recipe].load) {
            (Err(error), 0) => ("refused", error.as_str()),
            (Ok(_), load) if load != 0 => ("accepted", "it is accepted"),
            _ => continue,
        };
        if listed.remove(recipe).as_deref() != Some(verdict) {
            writeln!(wrong, "{recipe}\t{verdict}\t{why}").unwrap();
        }
    }
    for name in listed.keys() {
        writeln!(wrong, "listed without need\t{name}").unwrap();
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// cryptsetup rewrites the copy that it does not use; we write nothing, and choose the same one.
#[test]
fn the_copy_that_cryptsetup_repairs_is_the_one_not_chosen_here() {
    let on_record = recorded();
    let mut checked = 0;
    for Judged {
        recipe,
        ours,
        wrote,
    } in judged()
    {
        assert!(!wrote, "{recipe}: reading wrote");
        let Ok(Some((side, hdr_size))) = ours else {
            continue;
        };
        if recipe == "luks2-64k/stale-secondary-in-dead-primary-older" {
            // The one place where we choose better: the newest candidate, not the first.
            assert_eq!(*hdr_size, 65536);
            continue;
        }
        let expected = match on_record[recipe].repair {
            Repair::Primary => Side::Secondary,
            Repair::None | Repair::Secondary => Side::Primary,
        };
        assert_eq!(*side, expected, "{recipe}");
        checked += 1;
    }
    assert!(checked > 600, "{checked} recipes were read as LUKS2");
}

#[test]
fn the_bases_themselves_are_accepted() {
    for (base, image) in bases() {
        if let Err(error) = read(&image) {
            panic!("{base:?}: {error}");
        }
    }
}

fn ask_all(program: &program::Cryptsetup, recipes: &[Recipe]) -> BTreeMap<String, Verdict> {
    let bases = bases();
    recipes
        .iter()
        .map(|recipe| {
            let image = recipe.cook(&bases[&recipe.base]);
            (recipe.name.clone(), program.ask(&image))
        })
        .collect()
}

/// With `LUKSMITH_RECORD=verdicts` the answers become the record.
#[test]
fn the_installed_cryptsetup_gives_the_verdicts_on_record() {
    let Some(program) = program::Cryptsetup::newest() else {
        return;
    };
    let recording = env::var("LUKSMITH_RECORD").is_ok_and(|what| what == "verdicts");
    let all = recipes();
    if recording {
        let mut text = String::from(
            "# Made with LUKSMITH_RECORD=verdicts, from luksmith-testkit's recipes, by the \
             program below.\n",
        );
        writeln!(text, "# {}", program.version()).unwrap();
        text.push_str("# recipe, isLuks, copy rewritten, open --test-passphrase one, two, wrong\n");
        // Only what is new is asked, unless the record was deleted.
        let mut verdicts = recorded();
        let new: Vec<Recipe> = recipes()
            .into_iter()
            .filter(|recipe| !verdicts.contains_key(&recipe.name))
            .collect();
        verdicts.extend(ask_all(&program, &new));
        for recipe in &all {
            writeln!(text, "{}\t{}", recipe.name, verdicts[&recipe.name]).unwrap();
        }
        fs::write(record_path(), text).unwrap();
        return;
    }
    // All of them take minutes; without being asked for, every twentieth has to do.
    let step = match env::var_os("LUKSMITH_SETS") {
        Some(_) => 1,
        None => 20,
    };
    let on_record = recorded();
    let finishes = |recipe: &Recipe| {
        let verdict = on_record.get(&recipe.name);
        verdict.is_some_and(|verdict| !verdict.unlock.contains(&program::TOO_LONG))
    };
    let all: Vec<Recipe> = all.into_iter().step_by(step).filter(finishes).collect();
    println!(
        "record: headers that cryptsetup was asked about {}",
        all.len()
    );
    let mut wrong = String::new();
    for (name, verdict) in ask_all(&program, &all) {
        if on_record.get(&name) != Some(&verdict) {
            writeln!(wrong, "{name}\t{verdict}").unwrap();
        }
    }
    println!(
        "record: verdicts that are not those on record {}",
        wrong.lines().count()
    );
    println!(
        "record: headers where ours is another, as listed {}",
        differences().len()
    );
    assert!(wrong.is_empty(), "\n{wrong}");
}
