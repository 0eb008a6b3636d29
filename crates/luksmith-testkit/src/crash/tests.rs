use std::collections::BTreeSet;

use super::*;

fn device() -> CrashDevice {
    CrashDevice::from_bytes(&[0; 4096], SectorSize::S512)
}

fn firsts(image: &Image) -> Vec<u8> {
    image.to_vec().chunks(512).map(|piece| piece[0]).collect()
}

#[test]
fn unflushed_pieces_give_every_subset_and_flushed_ones_stay() {
    let device = device();
    device.write_at(ByteOffset::ZERO, &[1; 512]).unwrap();
    device.flush().unwrap();
    device.write_at(ByteOffset::new(512), &[2; 1024]).unwrap();
    let recording = device.recording();
    let last = recording.points().last().unwrap();
    assert_eq!(last.after, 3);
    let seen: BTreeSet<Vec<u8>> = last
        .images(&CrashOptions::default())
        .map(|image| firsts(&image)[..4].to_vec())
        .collect();
    let expected: [[u8; 4]; 4] = [[1, 0, 0, 0], [1, 0, 2, 0], [1, 2, 0, 0], [1, 2, 2, 0]];
    assert_eq!(seen, expected.map(Vec::from).into());
}

#[test]
fn a_piece_written_twice_may_end_as_any_version() {
    let device = device();
    device.write_at(ByteOffset::ZERO, &[1; 512]).unwrap();
    device.write_at(ByteOffset::ZERO, &[2; 512]).unwrap();
    let recording = device.recording();
    let last = recording.points().last().unwrap();
    let seen: BTreeSet<u8> = last
        .images(&CrashOptions::default())
        .map(|image| image.piece(0)[0])
        .collect();
    assert_eq!(seen, [0, 1, 2].into());
}

#[test]
fn many_pieces_give_chosen_images_with_all_old_and_all_new_among_them() {
    let device = device();
    device.write_at(ByteOffset::ZERO, &[3; 4096]).unwrap();
    let recording = device.recording();
    let options = CrashOptions {
        exhaustive_up_to: 8,
        random: 30,
        ..CrashOptions::default()
    };
    let last = recording.points().last().unwrap();
    let images: Vec<Vec<u8>> = last.images(&options).map(|image| firsts(&image)).collect();
    assert_eq!(images.len(), 32);
    assert_eq!(images[0], [0; 8]);
    assert_eq!(images[1], [3; 8]);
    let mixed = images.iter().filter(|i| i.contains(&0) && i.contains(&3));
    assert!(mixed.count() > 10);
}

#[test]
fn torn_and_scrambled_pieces_appear_only_where_asked_for() {
    let device = device();
    device.write_at(ByteOffset::ZERO, &[5; 512]).unwrap();
    let recording = device.recording();
    let point = recording.points().last().unwrap();
    let images = |fates| {
        let options = CrashOptions {
            fates,
            ..CrashOptions::default()
        };
        let images = point.images(&options).map(|image| image.piece(0));
        images.collect::<Vec<_>>()
    };
    assert_eq!(images(Fates::OldOrNew), [[0; 512], [5; 512]]);
    let torn = images(Fates::Torn);
    assert_eq!(torn.len(), 3);
    assert_eq!(
        (torn[2][0], torn[2][255], torn[2][256], torn[2][511]),
        (0, 0, 5, 5)
    );
    let scrambled = images(Fates::Scrambled);
    assert_eq!(scrambled.len(), 4);
    assert!(scrambled[3].iter().any(|&b| b != 0 && b != 5));
}

#[test]
fn a_crash_now_keeps_what_was_flushed() {
    let device = device().without_recording();
    device.write_at(ByteOffset::ZERO, &[1; 4096]).unwrap();
    device.flush().unwrap();
    device
        .discard(ByteOffset::new(1024), ByteLen::new(512))
        .unwrap();
    assert_eq!(device.pending_pieces(), 1);
    let mut prng = Prng::new(3);
    let mut seen = BTreeSet::new();
    for _ in 0..64 {
        seen.insert(firsts(&device.crash(&mut prng, Fates::OldOrNew)));
    }
    let expected = [[1, 1, 0, 1, 1, 1, 1, 1], [1; 8]];
    assert_eq!(seen, expected.map(Vec::from).into());
    let mut buf = [9; 512];
    device.read_at(ByteOffset::new(1024), &mut buf).unwrap();
    assert_eq!(buf, [0; 512]);
}

#[test]
fn every_request_is_a_crash_point_and_marks_tell_where_it_lies() {
    let device = device();
    device.write_at(ByteOffset::ZERO, &[1; 512]).unwrap();
    device.mark(1);
    device.flush().unwrap();
    device.mark(2);
    let recording = device.recording();
    let points: Vec<usize> = recording.points().map(|point| point.after).collect();
    assert_eq!(points, [0, 1, 3]);
    assert_eq!(recording.marks_before(3).collect::<Vec<_>>(), [1]);
    let count = recording.for_each_crash(&CrashOptions::default(), |point, image| {
        let first = image.piece(0)[0];
        match point.after {
            0 => assert_eq!(first, 0),
            1 => assert!(first <= 1),
            _ => assert_eq!(first, 1),
        }
    });
    assert_eq!(count, 1 + 2 + 1);
}
