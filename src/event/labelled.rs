//! How a closed set is written: every value with its label for logs and metrics and its meaning for people.

macro_rules! labelled {
    ($(#[$meta:meta])* $name:ident { $($variant:ident $label:literal $meaning:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $meaning] $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in logs and metrics.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// What it means, in words.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.label())
            }
        }
    };
}
