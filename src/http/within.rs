//! Work that is polled on a serving thread and belongs to the node's runtime.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;

use super::answer::Answer;
use super::connection::Answering;
use super::flow::Passage;

/// An answer that is made within the node's runtime, whichever thread polls it: tasks, timers and blocking work that it
/// begins are that runtime's.
pub struct Within {
    /// None for what is made already.
    node: Option<Handle>,
    answering: Answering,
    /// For connections that are watched as a whole.
    passage: Option<Passage>,
}

impl Within {
    /// `answering`, within `node`.
    pub fn new(node: &Handle, answering: Answering) -> Within {
        let node = matches!(answering, Answering::Later(_)).then(|| node.clone());
        Within { node, answering, passage: None }
    }

    /// The same, watched until its body has ended.
    pub fn watched(self, passage: Passage) -> Within {
        Within { passage: Some(passage), ..self }
    }
}

impl Future for Within {
    type Output = Result<Answer, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let _entered = this.node.as_ref().map(Handle::enter);
        let answer = match &mut this.answering {
            Answering::AtOnce(answer) => answer.take().expect("hyper polls until the answer is ready, and no further"),
            Answering::Later(answer) => ready!(answer.as_mut().poll(context)),
        };
        let passage = this.passage.take();
        Poll::Ready(Ok(answer.map(|body| body.watched(passage))))
    }
}
