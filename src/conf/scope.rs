//! What one block says, by the type of what each feature keeps of it.

use std::any::{Any, TypeId};
use std::collections::HashMap;

/// What a feature keeps of a block.
pub trait Settings: Default + 'static {
    /// Takes from the enclosing block what this one leaves unsaid. What belongs to one block alone
    /// takes nothing.
    fn inherit(&mut self, _outer: &Self) {}
}

/// What one block says, feature by feature.
#[derive(Default)]
pub struct Scope(HashMap<TypeId, Box<dyn Part>>);

impl Scope {
    /// What it says of one feature.
    pub fn of<T: Settings>(&mut self) -> &mut T {
        let part = self.0.entry(TypeId::of::<T>()).or_insert_with(|| Box::<T>::default());
        match part.as_any().downcast_mut() {
            Some(part) => part,
            None => unreachable!("it was put in by its type"),
        }
    }

    /// Takes from the enclosing block what this one leaves unsaid.
    pub fn inherit(&mut self, outer: &Scope) {
        for (of, part) in &outer.0 {
            self.0.entry(*of).or_insert_with(|| part.empty()).inherit_from(part.as_ref());
        }
    }
}

/// [`Settings`] of any type.
trait Part: Any {
    fn as_any(&mut self) -> &mut dyn Any;
    fn empty(&self) -> Box<dyn Part>;
    fn inherit_from(&mut self, outer: &dyn Part);
}

impl<T: Settings> Part for T {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn empty(&self) -> Box<dyn Part> {
        Box::<T>::default()
    }

    fn inherit_from(&mut self, outer: &dyn Part) {
        let outer: &dyn Any = outer;
        if let Some(outer) = outer.downcast_ref() {
            self.inherit(outer);
        }
    }
}

/// Declares the settings of a feature: the struct that sessions read, and the one that a block
/// fills with what is said in it.
///
/// A setting whose directive has a default always has a value in the end; any other is `Option`
/// or a list, and empty if nothing is said.
macro_rules! settings {
    (
        $(#[$conf_meta:meta])*
        pub struct $conf:ident, $scope:ident {
            $($(#[$meta:meta])* pub $name:ident: $type:ty,)+
        }
    ) => {
        $(#[$conf_meta])*
        #[derive(Debug, Clone)]
        pub struct $conf {
            $($(#[$meta])* pub $name: $type,)+
        }

        #[doc = concat!("What a block says of [`", stringify!($conf), "`].")]
        #[derive(Debug, Clone, Default)]
        pub struct $scope {
            $($(#[$meta])* pub $name: Option<$type>,)+
        }

        impl $crate::conf::scope::Settings for $scope {
            fn inherit(&mut self, outer: &Self) {
                $(if self.$name.is_none() {
                    self.$name.clone_from(&outer.$name);
                })+
            }
        }

        impl $scope {
            /// The settings as they hold in the end.
            pub fn resolve(&self) -> $conf {
                $conf { $($name: self.$name.clone().unwrap_or_default(),)+ }
            }
        }
    };
}

pub(crate) use settings;

#[cfg(test)]
mod tests {
    use super::*;

    settings! {
        /// As features have them.
        pub struct Conf, ConfScope {
            /// Said once.
            pub one: u32,
            /// Said once.
            pub two: Option<u32>,
            /// Said any number of times.
            pub list: Vec<u32>,
        }
    }

    #[derive(Default)]
    struct Own(u32);

    impl Settings for Own {}

    fn block(one: Option<u32>, two: Option<u32>, list: &[u32]) -> Scope {
        let mut scope = Scope::default();
        let said = scope.of::<ConfScope>();
        (said.one, said.two) = (one, two.map(Some));
        said.list = (!list.is_empty()).then(|| list.to_vec());
        scope
    }

    #[test]
    fn nothing_said_is_the_zero_of_its_type() {
        let conf = Scope::default().of::<ConfScope>().resolve();
        assert_eq!((conf.one, conf.two, conf.list), (0, None, vec![]));
    }

    #[test]
    fn a_block_takes_what_it_leaves_unsaid_and_keeps_what_it_says() {
        let mut inner = block(None, Some(2), &[1]);
        inner.inherit(&block(Some(7), Some(8), &[9, 9]));
        let conf = inner.of::<ConfScope>().resolve();
        assert_eq!((conf.one, conf.two, conf.list), (7, Some(2), vec![1]));
    }

    #[test]
    fn a_block_without_a_word_takes_all_over_two_floors() {
        let (mut middle, mut inner) = (Scope::default(), Scope::default());
        middle.inherit(&block(Some(7), None, &[9]));
        inner.inherit(&middle);
        let conf = inner.of::<ConfScope>().resolve();
        assert_eq!((conf.one, conf.two, conf.list), (7, None, vec![9]));
    }

    #[test]
    fn what_belongs_to_a_block_alone_is_not_inherited() {
        let (mut outer, mut inner) = (Scope::default(), Scope::default());
        outer.of::<Own>().0 = 1;
        inner.inherit(&outer);
        assert_eq!((inner.of::<Own>().0, outer.of::<Own>().0), (0, 1));
    }
}
