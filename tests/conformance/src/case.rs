//! A case: what is given, what must follow, and the lines that do it.

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use crate::world::World;

/// What a case ends with: an error says what was expected and what was seen instead.
pub type Done = anyhow::Result<()>;

/// How binding a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Tag {
    /// As the stock operator does it.
    Keep,
    /// Where the stock operator misbehaves: the desired result.
    Fix,
    /// Free; this is what we chose.
    Design,
    /// Ours alone.
    Beyond,
}

impl Tag {
    /// As the specification abbreviates it.
    pub fn letter(self) -> char {
        match self {
            Self::Keep => 'K',
            Self::Fix => 'F',
            Self::Design => 'D',
            Self::Beyond => 'B',
        }
    }
}

/// Which back ends can show the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Any API server.
    Both,
    /// Something that the sandbox leaves to the real one; the text says what.
    Real(&'static str),
}

/// On which control plane a case runs, and with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On the shared plane with the definitions exactly as shipped: admission.
    Shipped,
    /// On the shared plane with its one controller, side by side with all others. Rules about least durations are
    /// taken out of the definitions there, so that a ladder takes seconds.
    Shared,
    /// Alone on a plane without a controller: the case starts its own, as often and as configured as it likes.
    Alone,
    /// Like `Alone`, on a plane that also serves the kinds of OpenShift, next to a controller that found them.
    OpenShift,
}

type Run = Box<dyn Fn(Rc<World>) -> LocalBoxFuture<'static, Done>>;

/// One case.
pub struct Case {
    /// Id of the specification.
    pub id: &'static str,
    /// How binding it is.
    pub tag: Tag,
    /// Section of the specification.
    pub section: &'static str,
    /// The situation and what happens.
    pub given: &'static str,
    /// What must follow.
    pub then: &'static str,
    /// Which back ends can show it.
    pub needs: Needs,
    /// Where it runs.
    pub place: Place,
    /// Cases with the same word never run at the same time: what they use exists once per cluster.
    pub exclusive: Option<&'static str>,
    /// File or folder below the fixtures without which the case cannot run.
    pub fixture: Option<&'static str>,
    /// It waits for minutes of real time, for this reason, and runs only when asked for.
    pub slow: Option<&'static str>,
    /// The lines that do it.
    pub run: Run,
}

/// Begins a case.
pub fn case(id: &'static str, tag: Tag, section: &'static str) -> Draft {
    Draft(Case {
        id,
        tag,
        section,
        given: "",
        then: "",
        needs: Needs::Both,
        place: Place::Shared,
        exclusive: None,
        fixture: None,
        slow: None,
        run: Box::new(|_| Box::pin(async { anyhow::bail!("this case has no lines") })),
    })
}

/// A case that is being written down.
pub struct Draft(Case);

impl Draft {
    /// The situation and what happens.
    pub fn given(mut self, text: &'static str) -> Self {
        self.0.given = text;
        self
    }

    /// What must follow.
    pub fn then(mut self, text: &'static str) -> Self {
        self.0.then = text;
        self
    }

    /// Only the real back end can show it, for this reason.
    pub fn real(mut self, why: &'static str) -> Self {
        self.0.needs = Needs::Real(why);
        self
    }

    /// Where it runs.
    pub fn at(mut self, place: Place) -> Self {
        self.0.place = place;
        self
    }

    /// Never at the same time as others with this word.
    pub fn exclusive(mut self, what: &'static str) -> Self {
        self.0.exclusive = Some(what);
        self
    }

    /// Runs only when asked for, because it waits for minutes of real time.
    pub fn slow(mut self, why: &'static str) -> Self {
        self.0.slow = Some(why);
        self
    }

    /// Needs this file or folder below the fixtures.
    pub fn fixture(mut self, path: &'static str) -> Self {
        self.0.fixture = Some(path);
        self
    }

    /// The lines that do it.
    pub fn run(mut self, lines: impl AsyncFn(Rc<World>) -> Done + 'static) -> Case {
        let lines = Rc::new(lines);
        self.0.run = Box::new(move |world| {
            let lines = Rc::clone(&lines);
            Box::pin(async move { lines(world).await })
        });
        self.0
    }
}
