//! What holds for any publishers, players and settings.

mod sim;
use proptest::collection::vec;
use proptest::prelude::*;
use sim::chaos;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_player_gets_what_it_can_play(bytes in vec(any::<u8>(), 0..1500)) {
        chaos::run(&bytes);
    }
}
