//! Closed sets of words, spelt the same in items, rows and counters.

/// Declares an enum of words. The first one stands in for a field that was refused.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$of_variant:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$of_variant])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them, by their words.
            pub const WORDS: &[(&str, Self)] = &[$(($word, Self::$variant),)+];

            /// As items and counters spell it.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The one that is spelt so.
            #[must_use]
            pub fn of(word: &str) -> Option<Self> {
                Self::WORDS.iter().find(|(one, _)| *one == word).map(|(_, choice)| *choice)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::WORDS[0].1
            }
        }
    };
}

pub(crate) use words;
