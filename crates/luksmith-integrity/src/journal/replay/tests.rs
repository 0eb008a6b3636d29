use super::*;

/// A scan of whole sections with these numbers; `9` stands for a section torn between the number of
/// its left neighbour's lap and `torn.1`.
fn scan(numbers: &[usize], used: &[(usize, u32)]) -> Scan {
    let whole: Vec<_> = numbers
        .iter()
        .map(|&number| Sequence::ALL.get(number).copied())
        .collect();
    let mut highest = [None; 4];
    for (section, &number) in numbers.iter().enumerate() {
        if number < 4 {
            highest[number] = Some(u32::try_from(section).unwrap());
        }
    }
    for &(number, section) in used {
        highest[number] = highest[number].max(Some(section));
    }
    Scan {
        whole,
        highest,
        empty: false,
    }
}

fn replayed(scan: &Scan) -> Vec<(u32, usize)> {
    let plan = scan.plan().unwrap();
    plan.replayed()
        .map(|(section, sequence)| (section, sequence.index()))
        .collect()
}

#[test]
fn a_whole_ring_is_replayed_from_its_oldest_section_and_goes_on_there() {
    let scan = scan(&[3, 3, 3, 2, 2], &[]);
    assert_eq!(replayed(&scan), [(3, 2), (4, 2), (0, 3), (1, 3), (2, 3)]);
    let plan = scan.plan().unwrap();
    assert_eq!(
        plan.continues(true),
        Some(Resume {
            section: 3,
            sequence: Sequence::ALL[3]
        })
    );
    // In another mode the journal has to go.
    assert_eq!(plan.continues(false), None);
    let (number, order) = plan.erasure();
    assert_eq!(number.index(), 1);
    assert_eq!(order.collect::<Vec<_>>(), [3, 4, 0, 1, 2]);
    assert_eq!(
        plan.after_erasure(),
        Resume {
            section: 0,
            sequence: Sequence::ALL[2]
        }
    );
}

#[test]
fn a_lap_that_just_ended_starts_again_at_section_zero() {
    let scan = scan(&[0, 0, 0], &[]);
    assert_eq!(replayed(&scan), [(0, 0), (1, 0), (2, 0)]);
    assert_eq!(
        scan.plan().unwrap().continues(true),
        Some(Resume {
            section: 0,
            sequence: Sequence::ALL[1]
        })
    );
}

#[test]
fn numbers_wrap_from_three_to_zero() {
    let scan = scan(&[0, 3, 3], &[]);
    assert_eq!(replayed(&scan), [(1, 3), (2, 3), (0, 0)]);
}

#[test]
fn a_torn_newest_section_is_dropped_and_the_journal_erased() {
    // Section 2 was being written with 1 over 0.
    let scan = scan(&[1, 1, 9, 0], &[(1, 2), (0, 2)]);
    assert_eq!(replayed(&scan), [(3, 0), (0, 1), (1, 1)]);
    let plan = scan.plan().unwrap();
    assert_eq!(plan.continues(true), None);
    assert_eq!(plan.after_erasure().section, 0);
    assert_eq!(plan.after_erasure().sequence.index(), 0);
    let (number, order) = plan.erasure();
    assert_eq!(
        (number.index(), order.collect::<Vec<_>>()),
        (3, vec![3, 0, 1, 2])
    );
}

#[test]
fn of_a_torn_commit_everything_from_its_first_incomplete_section_on_is_dropped() {
    // Sections 1 to 3 were being written with 1; 1 is torn, 2 and 3 arrived.
    let scan = scan(&[1, 9, 1, 1, 0], &[(1, 1), (0, 1)]);
    assert_eq!(replayed(&scan), [(4, 0), (0, 1)]);
}

#[test]
fn a_torn_commit_across_the_end_of_the_ring_keeps_what_lies_before() {
    // Sections 3 (with 1) and 0 (with 2) were being written; 3 is torn, 0 arrived.
    let scan = scan(&[2, 1, 1, 9], &[(0, 3), (1, 3)]);
    assert_eq!(replayed(&scan), [(1, 1), (2, 1)]);
}

#[test]
fn in_a_journal_of_one_section_a_torn_section_loses_the_commit() {
    let torn = scan(&[9], &[(0, 0), (1, 0)]);
    assert_eq!(replayed(&torn), []);
    assert_eq!(torn.plan().unwrap().continues(true), None);
    let whole = scan(&[1], &[]);
    assert_eq!(replayed(&whole), [(0, 1)]);
}

#[test]
fn a_half_erased_journal_is_not_replayed() {
    // Erasing 3 3 2 2 with 1: the order is 2, 3, 0, 1; the power went after the first two.
    let scan = scan(&[3, 3, 1, 1], &[]);
    assert_eq!(replayed(&scan), []);
    let plan = scan.plan().unwrap();
    assert_eq!(plan.continues(true), None);
    let (number, order) = plan.erasure();
    assert_eq!(
        (number.index(), order.collect::<Vec<_>>()),
        (1, vec![2, 3, 0, 1])
    );
    // No erasure of ours leaves this, but the kernel would take it for one.
    assert_eq!(replayed(&self::scan(&[3, 1, 3], &[])), []);
}

#[test]
fn all_four_numbers_at_once_are_an_error() {
    assert_eq!(scan(&[0, 1, 2, 3], &[]).plan(), Err(Error::CommitIds));
}

#[test]
fn a_journal_without_used_entries_goes_on_in_any_mode() {
    let mut scan = scan(&[1, 0], &[]);
    scan.empty = true;
    let plan = scan.plan().unwrap();
    assert_eq!(plan.replayed().count(), 0);
    assert!(plan.continues(false).is_some());
}
