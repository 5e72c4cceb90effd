//! Three sites in networks and with clocks of their own: cut apart and healed while they write, delete and move the same
//! paths, clocks minutes apart and jumping, and one of them set back to an hour-old copy of its folder.
//!
//! `scripts/apart.sh` runs this at length.

mod last_words;
mod sites;

use crate::harness::{Dice, REPO, is_long, repository};
use sites::{ALL, HOUR_S, Sites};

/// How many rounds of cutting and healing.
fn rounds() -> u64 {
    let told = std::env::var("ARTIMESH_ROUNDS").ok().and_then(|text| text.parse().ok());
    told.unwrap_or(if is_long() { 30 } else { 4 }).max(4)
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_that_wrote_apart_by_clocks_of_their_own_agree_and_nothing_returns() {
    let Some(mut sites) = Sites::new("sites apart").await else { return };
    let rounds = rounds();
    // In the second round one is copied; an hour later it is set back to that.
    let (mut copied, mut victim) = (None, 0);
    for round in 0..rounds {
        sites.jump_apart();
        sites.cut_some();
        sites.write(6).await;
        sites.jump_apart();
        sites.write(6).await;
        sites.mend_all();
        // Sometimes the next cut comes while they are still telling each other.
        if sites.dice.below(3) > 0 || round % 4 == 1 {
            sites.agree().await;
        }
        match round % 4 {
            1 => {
                victim = sites.dice.below(3) as usize;
                copied = Some(sites.copy(victim));
                sites.pass(HOUR_S);
            }
            3 => {
                let copy = copied.take().expect("taken two rounds before");
                sites.agree().await;
                sites.set_back(victim, copy).await;
                sites.write(3).await;
            }
            _ => {}
        }
    }
    sites.right_clocks();
    sites.agree().await;
    for site in ALL {
        let status = sites.circle.nodes[site].status().await.expect("a status");
        let log = std::fs::read_to_string(sites.circle.nodes[site].log_path()).expect("a log");
        assert!(
            !log.contains("fork"),
            "{}: a fork: {}",
            sites.circle.nodes[site].name,
            sites.circle.nodes[site].log_tail()
        );
        let siblings = repository(&status, REPO).expect("libs")["siblings"].clone();
        println!("{}: {siblings} siblings", sites.circle.nodes[site].name);
    }
    println!("{rounds} rounds, {}", sites.said);
    let mut dice = Dice(1);
    let path = format!("after/{}", dice.next());
    assert!(sites.put(0, &path, "and they go on".into()).await);
    sites.agree().await;
}
