//! Three sites in networks and with clocks of their own: cut apart and healed while they write, delete and move the same
//! paths, clocks minutes apart and jumping, and one of them set back to an hour-old copy of its folder.
//!
//! `scripts/apart.sh` runs this at length.

mod last_words;
mod sites;

use hyper::StatusCode;
use serde_json::Value;

use crate::harness::{Dice, REPO, is_long, repository, until};
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

/// The part of a site's status about its clock, once it says that writes are taken, or aren't.
async fn clock_once(sites: &Sites, site: usize, takes_writes: bool) -> Value {
    until(&format!("site {site} says takes_writes: {takes_writes}"), || async {
        let clock = sites.circle.nodes[site].status().await?["clock"].clone();
        if clock["takes_writes"] == takes_writes { Ok(clock) } else { Err(clock.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_three_hours_ahead_takes_no_writes_and_says_so_and_recovers_when_its_clock_is_set_back() {
    let Some(mut sites) = Sites::new("three hours ahead").await else { return };
    assert!(sites.put(0, "before", "by a right clock".into()).await);
    sites.agree().await;
    sites.set_clock(1, 3 * HOUR_S);
    let clock = clock_once(&sites, 1, false).await;
    let ahead_s = clock["ahead_ms"].as_i64().expect("a number") / 1000;
    assert!((ahead_s - 3 * HOUR_S).abs() < 60, "{clock}");
    for path in ["before", "ahead"] {
        let answer = sites.circle.nodes[1].client().put(&format!("/artifactory/{REPO}/{path}"), "x").await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
        assert!(answer.text().contains("clock is") && answer.text().contains("ahead"), "{}", answer.text());
    }
    let shown = sites.circle.nodes[1].cli(&["status"], "");
    let said = "ahead of the other members: no writes are taken until it is set right";
    assert!(shown.contains(said), "{shown}");
    assert!(sites.put(0, "meanwhile", "the others write on".into()).await);
    assert!(sites.put(2, "before", "and overwrite".into()).await);
    sites.agree().await;

    sites.set_clock(1, 0);
    clock_once(&sites, 1, true).await;
    assert!(sites.put(1, "before", "right again".into()).await);
    sites.agree().await;
    let shown = sites.circle.nodes[1].cli(&["status"], "");
    assert!(!shown.contains(said), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_three_hours_behind_writes_like_any_other() {
    let Some(mut sites) = Sites::new("three hours behind").await else { return };
    sites.set_clock(2, -3 * HOUR_S);
    assert!(sites.put(0, "x", "by a right clock".into()).await);
    sites.agree().await;
    assert!(sites.put(2, "x", "hours behind, and later".into()).await);
    assert!(sites.put(2, "y", "its own".into()).await);
    sites.agree().await;
    assert!(sites.put(1, "y", "by a right clock again".into()).await);
    sites.agree().await;
    until("it knows that it is behind, once it has measured the others anew", || async {
        let clock = clock_once(&sites, 2, true).await;
        let ahead_ms = clock["ahead_ms"].as_i64().expect("a number");
        if ahead_ms < -2 * HOUR_S * 1000 { Ok(()) } else { Err(clock.to_string()) }
    })
    .await;
    for right in [0, 1] {
        clock_once(&sites, right, true).await;
    }
}
