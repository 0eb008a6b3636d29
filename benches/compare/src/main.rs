//! Compares luksmith's kernels with other implementations, paired, in one process.

mod gcm;
mod harness;
mod hash;
mod kdf;
mod mac_peers;
mod peers;
mod sealed;
mod xts;

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    harness::pin(1);
    let cases = [
        xts::cases,
        gcm::cases,
        hash::cases,
        sealed::cases,
        kdf::cases,
    ];
    for mut case in cases.into_iter().flat_map(|cases| cases()) {
        if !case.name.contains(&filter) {
            continue;
        }
        let results = harness::run(&mut case);
        println!("{} {}", case.row, case.name);
        for one in &results {
            println!(
                "  {:20} {:7.2} GB/s {:.4} c/B  spread {:.1}%  x{:.3} of {}",
                one.contender,
                1.0 / harness::median(&one.ns),
                harness::median(&one.cycles),
                (harness::quantile(&one.ns, 0.75) / harness::quantile(&one.ns, 0.25) - 1.0) * 100.0,
                harness::ratio(one, &results[0]),
                results[0].contender,
            );
        }
    }
    if "kdf/argon2id".contains(&filter) {
        kdf::argon2(5);
    }
}
