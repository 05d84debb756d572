//! A farm id as words, for comparing by ear.

use bip39::Language;

use crate::model::FarmId;

/// The first 88 bits of the id as eight words of the BIP-39 English list, most significant first.
///
/// Enough for a comparison by a person: whoever wants another farm with the same words must try 2^88 master keys.
#[must_use]
pub fn words(farm: &FarmId) -> String {
    let list = Language::English.word_list();
    let bits = farm.0[..11]
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| usize::from(byte >> bit & 1)));
    let bits: Vec<usize> = bits.collect();
    let words: Vec<&str> = bits
        .chunks(11)
        .map(|word| list[word.iter().fold(0, |n, bit| n << 1 | bit)])
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_the_bits_of_the_farm_id() {
        assert_eq!(words(&FarmId([0; 32])), ["abandon"; 8].join(" "));
        assert_eq!(words(&FarmId([0xff; 32])), ["zoo"; 8].join(" "));
        let mut id = [0; 32];
        id[10] = 1;
        assert!(words(&FarmId(id)).ends_with("abandon ability"));
    }
}
