//! The oracle itself: does it boot, keep what it is told, and run programs here.

use std::fs;

use luksmith_testkit::interop;

#[test]
fn the_kernel_maps_and_keeps_what_a_script_writes() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disks = ["first", "second"].map(|name| folder.path().join(name));
    for disk in &disks {
        fs::write(disk, vec![0_u8; 1 << 20]).expect("a disk");
    }
    let script = "set -e
        printf abc | dd of=/disk/1 bs=1 seek=4096 conv=notrunc 2>/dev/null
        echo '0 2048 crypt aes-xts-plain64 '$(printf '%064d' 7)' 0 /disk/0 0' | dmsetup create one
        printf defg | dd of=/dev/mapper/one conv=notrunc,fsync 2>/dev/null
        head -c 4 /dev/mapper/one; echo
        for cipher in serpent-xts twofish-xts camellia-xts 'xchacha20,aes-adiantum'; do
          table=\"0 2048 crypt $cipher-plain64 $(printf %064d 7) 0 /disk/0 0\"
          echo \"$table\" | dmsetup create two
          dmsetup remove two; echo $cipher
        done
        integritysetup --version | grep -c integritysetup
        sync";
    let report = oracle
        .boot(script, &[&disks[0], &disks[1]])
        .expect("the oracle boots");
    assert_eq!(
        report.text,
        "defg\nserpent-xts\ntwofish-xts\ncamellia-xts\nxchacha20,aes-adiantum\n1\n"
    );
    assert_eq!(report.status, Some(0));
    assert!(!report.kernel.is_empty(), "uname printed nothing");
    let second = fs::read(&disks[1]).expect("the second disk");
    assert_eq!(&second[4096..4099], b"abc");
    let first = fs::read(&disks[0]).expect("the first disk");
    assert_ne!(&first[..4], b"defg", "the mapping did not encrypt");
    assert_ne!(&first[..512], &[0; 512][..], "nothing was written");
}

#[test]
fn a_script_that_fails_is_a_problem_with_its_last_words() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let problem = oracle
        .boot("echo about to fail; exit 7", &[])
        .expect_err("status 7");
    let text = problem.to_string();
    assert!(text.contains("status 7"), "{text}");
    assert!(text.contains("about to fail"), "{text}");
    let cut = "echo before; echo o > /proc/sysrq-trigger; sleep 30; echo after";
    let report = oracle.boot_to_any_end(cut, &[]).expect("a boot");
    assert_eq!((report.text.as_str(), report.status), ("before\n", None));
}

#[test]
fn programs_of_the_userland_run_without_a_boot() {
    let Some(oracle) = interop::oracle() else {
        return;
    };
    let output = oracle
        .program("cryptsetup")
        .expect("cryptsetup is there")
        .arg("--version")
        .output()
        .expect("cryptsetup runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("cryptsetup 2."), "{text}");
    let version = oracle.version("cryptsetup-bin").expect("its version");
    assert!(version.contains("2."), "{version}");
    assert!(oracle.program("no-such-program").is_err());
}
