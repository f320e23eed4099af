//! Reads the body of an unverified request, bounded in bytes, in time and in slowness.
//!
//! `gate` calls it after all checks of the head have passed, and a consumer (the MAC) gets each chunk as it arrives. A
//! body that comes in one frame is passed on without a copy. Otherwise one buffer grows with the bytes that have
//! arrived, never with the length that was merely declared. Trailers are dropped unread. This module never decompresses
//! or interprets a body.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http_body::Body;
use tokio::time::{Instant, Sleep, sleep_until};

/// Limits of one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Maximum size in bytes.
    pub max: usize,
    /// Time from the first wait for bytes to the last byte.
    pub timeout: Duration,
}

/// The facts of the request head that describe the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyHead {
    /// The declared length, if any. The caller has compared it with the limit.
    pub declared: Option<u64>,
    /// HTTP version of the request: only HTTP/2 distinguishes the end of a body from a reset.
    pub version: Version,
}

/// The reason why reading a body failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum BodyFault {
    /// The body has more bytes than the limit.
    #[error("the body is larger than allowed")]
    TooLarge,
    /// The deadline passed before the last byte.
    #[error("the body did not arrive in time")]
    Timeout,
    /// The body arrives below the minimum rate.
    #[error("the body arrives too slowly")]
    TooSlow,
    /// The body ended early, or its framing is invalid.
    #[error("the body ended early or its framing is broken")]
    Aborted,
    /// The consumer has no room for more bytes.
    #[error("there is no room for more of the body")]
    NoRoom,
}

/// Time during which a sender may be as slow as it likes, since a bad line loses a packet or two.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Minimum average rate after the grace, in bytes per second. A tenth of an analog modem, and still 1,000 times the
/// rate of a slow-body attack.
pub(crate) const MIN_RATE: u64 = 100;

/// Maximum reservation before the bytes arrive. It is enough to read nearly every webhook without growing the buffer,
/// and pages that are never written cost no memory.
const MAX_RESERVE: usize = 128 * 1024;

/// Bounds for reading the body of a request that its head already rejected.
const DISCARD_BYTES: u64 = 64 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// Number of times that an HTTP/1 body may have no more frames ready before it is dropped. Bytes that have arrived come
/// through hyper's channel one frame per turn of the connection's task.
const DISCARD_TURNS: u32 = 8;

/// Maximum number of empty frames: over HTTP/2, a client can send them forever.
const MAX_EMPTY_FRAMES: u32 = 1000;

/// Reads the whole body. `consume` gets every byte once and in order, as it arrives; returning `false` ends the
/// reading.
///
/// # Errors
///
/// See `BodyFault`. After an error, `consume` has not seen a whole body.
pub(crate) async fn read_body<B>(
    body: B,
    head: BodyHead,
    limits: BodyLimits,
    consume: impl FnMut(&[u8]) -> bool,
) -> Result<Bytes, BodyFault>
where
    B: Body<Data = Bytes>,
{
    let pace = ReadPace {
        timeout: limits.timeout,
        grace: GRACE,
        rate: MIN_RATE,
        running: None,
    };
    read_at_pace(body, head, limits.max, pace, consume).await
}

/// A request body that remembers whether it was read to its end.
pub(crate) struct TrackedBody<B> {
    body: B,
    has_ended: bool,
}

impl<B: Body> TrackedBody<B> {
    /// Wraps a body of which nothing was read.
    pub(crate) fn new(body: B) -> Self {
        Self {
            body,
            has_ended: false,
        }
    }

    /// Returns true where nothing is left to read. A chunked body does not know that by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended || self.body.is_end_stream()
    }
}

impl<B: Body + Unpin> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(context);
        this.has_ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Reads a small body that no check wanted, before the response is sent.
///
/// Over HTTP/2, a response that overtakes the body ends in RST_STREAM(NO_ERROR), as RFC 9113, section 8.1 requires.
/// curl 7.88 and others then report a broken stream instead of the response, so its status and `Retry-After` are lost.
/// The body is therefore awaited.
///
/// Over HTTP/1, a connection whose request was not read whole has to be closed. The body is read as far as it has
/// arrived, and not awaited.
pub(crate) async fn discard_body<B>(body: B, head: BodyHead)
where
    B: Body<Data = Bytes>,
{
    // Reading a large body would cost more than the response is worth.
    let is_small = head.declared.is_none_or(|length| length <= DISCARD_BYTES);
    if !is_small {
        return;
    }
    let mut body = pin!(body);
    if head.version != Version::HTTP_2 {
        return discard_ready(body).await;
    }
    let mut frames = 0_u32;
    let mut taken = 0_u64;
    let taking = async {
        while taken <= DISCARD_BYTES && frames <= MAX_EMPTY_FRAMES && !body.is_end_stream() {
            let frame = poll_fn(|context| body.as_mut().poll_frame(context)).await;
            let Some(Ok(frame)) = frame else { break };
            let length = frame.data_ref().map_or(0, Bytes::len);
            taken = taken.saturating_add(length as u64);
            frames = frames.saturating_add(1);
        }
    };
    // A slower sender gets its response before its body was read.
    let _ = tokio::time::timeout(DISCARD_TIME, taking).await;
}

/// Reads the frames that are ready, within a few turns of the task.
async fn discard_ready<B>(mut body: Pin<&mut B>)
where
    B: Body<Data = Bytes>,
{
    let mut taken = 0_u64;
    let mut turns = 0_u32;
    poll_fn(|context| {
        while taken <= DISCARD_BYTES && !body.is_end_stream() {
            match body.as_mut().poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    taken = taken.saturating_add(length as u64);
                }
                Poll::Ready(_) => break,
                Poll::Pending if turns < DISCARD_TURNS => {
                    turns = turns.saturating_add(1);
                    // Wakes itself, so that hyper's connection task gets a turn to pass on the next frame.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => break,
            }
        }
        Poll::Ready(())
    })
    .await;
}

async fn read_at_pace<B>(
    body: B,
    head: BodyHead,
    max: usize,
    mut pace: ReadPace,
    mut consume: impl FnMut(&[u8]) -> bool,
) -> Result<Bytes, BodyFault>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let mut received = BodyBuffer::new(head.declared, max);
    let mut empty_frames = 0_u32;
    while !body.is_end_stream() {
        let frame = poll_fn(|context| {
            // The body first, the timer second: a body that is already here needs no timer.
            if let Poll::Ready(frame) = body.as_mut().poll_frame(context) {
                return Poll::Ready(Ok(frame));
            }
            pace.poll_fault(context, received.total).map(Err)
        });
        let chunk = match frame.await? {
            None => break,
            Some(Err(_)) => return Err(BodyFault::Aborted),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        // An empty frame adds nothing to the minimum rate, so it needs its own bound.
        if chunk.is_empty() {
            empty_frames = empty_frames.saturating_add(1);
            if empty_frames > MAX_EMPTY_FRAMES {
                return Err(BodyFault::Aborted);
            }
            continue;
        }
        // The limit comes before the consumer, so that no byte past the limit is ever fed to the MAC.
        received.check(chunk.len())?;
        if !consume(&chunk) {
            return Err(BodyFault::NoRoom);
        }
        received.push(chunk);
    }
    // hyper reports a stream that was reset with NO_ERROR as ended. Without this check, a shortened body would look
    // whole.
    let is_reset = head.version == Version::HTTP_2 && !body.is_end_stream();
    let is_short = head
        .declared
        .is_some_and(|declared| declared != received.total);
    if is_reset || is_short {
        return Err(BodyFault::Aborted);
    }
    Ok(received.into_bytes())
}

/// The bytes so far: the first frame without a copy, or a buffer from the second frame on.
struct BodyBuffer {
    declared: Option<u64>,
    max: usize,
    total: u64,
    first: Bytes,
    buffer: Vec<u8>,
}

impl BodyBuffer {
    fn new(declared: Option<u64>, max: usize) -> Self {
        Self {
            declared,
            max,
            total: 0,
            first: Bytes::new(),
            buffer: Vec::new(),
        }
    }

    fn len(&self) -> usize {
        self.first.len().max(self.buffer.len())
    }

    fn check(&self, more: usize) -> Result<(), BodyFault> {
        if more > self.max.saturating_sub(self.len()) {
            return Err(BodyFault::TooLarge);
        }
        Ok(())
    }

    fn push(&mut self, chunk: Bytes) {
        self.total = self.total.saturating_add(chunk.len() as u64);
        if self.first.is_empty() && self.buffer.is_empty() {
            self.first = chunk;
            return;
        }
        if self.buffer.is_empty() {
            // The declared length is only a claim, so it reserves a bounded amount.
            let claimed = self
                .declared
                .and_then(|length| usize::try_from(length).ok())
                .unwrap_or(0)
                .min(MAX_RESERVE)
                .min(self.max);
            // Most bodies have one frame, so the buffer exists only from the second one on.
            let arrived = self.first.len().saturating_add(chunk.len());
            self.buffer = Vec::with_capacity(claimed.max(arrived));
            self.buffer.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.buffer.extend_from_slice(&chunk);
    }

    fn into_bytes(self) -> Bytes {
        if self.buffer.is_empty() {
            self.first
        } else {
            Bytes::from(self.buffer)
        }
    }
}

/// The deadline and the minimum rate, behind one timer. The timer is only created when the body has to be awaited.
struct ReadPace {
    timeout: Duration,
    grace: Duration,
    rate: u64,
    running: Option<PaceTimer>,
}

struct PaceTimer {
    began: Instant,
    timer: Pin<Box<Sleep>>,
}

impl ReadPace {
    /// Returns the fault once the body is too late or too slow.
    fn poll_fault(&mut self, context: &mut Context<'_>, received: u64) -> Poll<BodyFault> {
        let (timeout, grace) = (self.timeout, self.grace);
        let running = self.running.get_or_insert_with(|| {
            let began = Instant::now();
            PaceTimer {
                began,
                timer: Box::pin(sleep_until(began + timeout.min(grace))),
            }
        });
        loop {
            ready!(running.timer.as_mut().poll(context));
            let elapsed = running.timer.deadline().duration_since(running.began);
            if elapsed >= timeout {
                return Poll::Ready(BodyFault::Timeout);
            }
            // The bytes so far pay for this much time at the minimum rate.
            let paid = Duration::from_millis(received.saturating_mul(1000) / self.rate.max(1));
            if paid <= elapsed {
                return Poll::Ready(BodyFault::TooSlow);
            }
            let next = running.began + paid.min(timeout);
            running.timer.as_mut().reset(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body::Frame;
    use proptest::prelude::*;

    use super::*;
    use crate::test_rig::let_time_pass;

    enum Step {
        Data(Bytes),
        Trailers,
        Wait(Duration),
        Fail,
    }

    /// A body that follows a script of steps.
    struct Script {
        steps: VecDeque<Step>,
        timer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    }

    impl Script {
        fn new(steps: impl IntoIterator<Item = Step>) -> Self {
            Self {
                steps: steps.into_iter().collect(),
                timer: None,
            }
        }
    }

    impl Body for Script {
        type Data = Bytes;
        type Error = ();

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(context));
                self.timer = None;
            }
            match self.steps.pop_front() {
                None => Poll::Ready(None),
                Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Step::Trailers) => {
                    Poll::Ready(Some(Ok(Frame::trailers(http::HeaderMap::new()))))
                }
                Some(Step::Fail) => Poll::Ready(Some(Err(()))),
                Some(Step::Wait(time)) => {
                    self.timer = Some(Box::pin(let_time_pass("a slow client", time)));
                    self.poll_frame(context)
                }
            }
        }

        fn is_end_stream(&self) -> bool {
            self.steps.is_empty() && self.timer.is_none()
        }
    }

    const LIMITS: BodyLimits = BodyLimits {
        max: 1 << 20,
        timeout: Duration::from_secs(30),
    };

    async fn read(
        steps: Vec<Step>,
        declared: Option<u64>,
        limits: BodyLimits,
    ) -> (Result<Bytes, BodyFault>, Vec<u8>) {
        let mut fed = Vec::new();
        let head = BodyHead {
            declared,
            version: Version::HTTP_11,
        };
        let pace = ReadPace {
            timeout: limits.timeout,
            grace: Duration::from_millis(100),
            rate: 10_000,
            running: None,
        };
        let result = read_at_pace(Script::new(steps), head, limits.max, pace, |chunk| {
            fed.extend_from_slice(chunk);
            true
        })
        .await;
        (result, fed)
    }

    fn data(len: usize) -> Step {
        Step::Data(Bytes::from(vec![b'x'; len]))
    }

    #[tokio::test]
    async fn one_frame_is_not_copied() {
        let bytes = Bytes::from(vec![7; 4000]);
        let (result, fed) = read(vec![Step::Data(bytes.clone())], Some(4000), LIMITS).await;
        assert_eq!(result.unwrap().as_ptr(), bytes.as_ptr());
        assert_eq!(fed, bytes);
    }

    #[tokio::test]
    async fn a_claimed_length_reserves_little() {
        let limits = BodyLimits {
            max: usize::MAX,
            ..LIMITS
        };
        let mut received = BodyBuffer::new(Some(1 << 40), limits.max);
        received.push(Bytes::from_static(b"a"));
        assert_eq!(received.buffer.capacity(), 0);
        received.push(Bytes::from_static(b"b"));
        assert!(received.buffer.capacity() <= MAX_RESERVE);
        let mut received = BodyBuffer::new(Some(1 << 40), 100);
        received.push(Bytes::from_static(b"a"));
        received.push(Bytes::from_static(b"b"));
        assert!(received.buffer.capacity() <= 100);
    }

    // Mutation: compare with `self.declared` instead of what arrived in `BodyBuffer::check`.
    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_and_not_fed() {
        let limits = BodyLimits { max: 100, ..LIMITS };
        let (result, fed) = read(vec![data(60), data(40)], None, limits).await;
        assert_eq!((result.unwrap().len(), fed.len()), (100, 100));
        let (result, fed) = read(vec![data(60), data(41)], None, limits).await;
        assert_eq!((result, fed.len()), (Err(BodyFault::TooLarge), 60));
    }

    // Mutation: set `began` again whenever the timer is reset.
    #[tokio::test]
    async fn the_deadline_is_for_the_whole_body() {
        let limits = BodyLimits {
            timeout: Duration::from_millis(300),
            ..LIMITS
        };
        let steps = (0..60).flat_map(|_| [data(1000), Step::Wait(Duration::from_millis(10))]);
        let (result, _) = read(steps.collect(), None, limits).await;
        assert_eq!(result, Err(BodyFault::Timeout));
    }

    // Mutation: return Pending instead of TooSlow.
    #[tokio::test]
    async fn a_trickle_ends_after_the_grace() {
        let began = Instant::now();
        let steps = (0..100).flat_map(|_| [data(1), Step::Wait(Duration::from_millis(50))]);
        let (result, _) = read(steps.collect(), None, LIMITS).await;
        assert_eq!(result, Err(BodyFault::TooSlow));
        assert!(began.elapsed() >= Duration::from_millis(100));
        let steps = (0..20).flat_map(|_| [data(10_000), Step::Wait(Duration::from_millis(10))]);
        let (result, _) = read(steps.collect(), None, LIMITS).await;
        assert_eq!(result.unwrap().len(), 200_000);
    }

    #[tokio::test]
    async fn a_broken_or_short_body_is_aborted() {
        let (result, _) = read(vec![data(10), Step::Fail], None, LIMITS).await;
        assert_eq!(result, Err(BodyFault::Aborted));
        let (result, _) = read(vec![data(10)], Some(11), LIMITS).await;
        assert_eq!(result, Err(BodyFault::Aborted));
        let steps = (0..2000).map(|_| data(0)).collect();
        let (result, _) = read(steps, None, LIMITS).await;
        assert_eq!(result, Err(BodyFault::Aborted));
    }

    /// An HTTP/2 stream that was reset with NO_ERROR: hyper returns `None`, but the end of the stream never came.
    struct Reset(Option<Bytes>);

    impl Body for Reset {
        type Data = Bytes;
        type Error = ();

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    // Mutation: `is_reset = false`.
    #[tokio::test]
    async fn a_reset_stream_is_not_a_whole_body() {
        let read = |version| {
            let head = BodyHead {
                declared: None,
                version,
            };
            read_body(Reset(Some(Bytes::from_static(b"{}"))), head, LIMITS, |_| {
                true
            })
        };
        assert_eq!(read(Version::HTTP_2).await, Err(BodyFault::Aborted));
        assert_eq!(read(Version::HTTP_11).await.unwrap(), "{}");
    }

    proptest! {
        #[test]
        fn every_chunking_gives_the_same_bytes(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20),
            is_declared in any::<bool>(),
        ) {
            let whole = chunks.concat();
            let mut steps: Vec<Step> =
                chunks.into_iter().map(|chunk| Step::Data(Bytes::from(chunk))).collect();
            steps.push(Step::Trailers);
            let declared = is_declared.then_some(whole.len() as u64);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let (result, fed) = runtime.block_on(read(steps, declared, LIMITS));
            prop_assert_eq!(result.unwrap(), Bytes::from(whole.clone()));
            prop_assert_eq!(fed, whole);
        }
    }

    fn http2(declared: Option<u64>) -> BodyHead {
        BodyHead {
            declared,
            version: Version::HTTP_2,
        }
    }

    #[tokio::test]
    async fn an_unwanted_body_is_taken_in_within_bounds() {
        let piece = || Step::Data(Bytes::from(vec![0; 16 * 1024]));
        let many = || (0..100).map(|_| piece()).collect();
        // The number of steps left in the script, and whether reading lasted until the deadline.
        let left = async |head: BodyHead, steps: Vec<Step>| {
            let mut script = Script::new(steps);
            let began = Instant::now();
            discard_body(Pin::new(&mut script), head).await;
            (script.steps.len(), began.elapsed() >= DISCARD_TIME)
        };
        let slow = vec![piece(), Step::Wait(Duration::from_millis(20)), piece()];
        assert_eq!(left(http2(None), slow).await, (0, false));
        assert_eq!(left(http2(None), many()).await, (95, false));
        let silent = vec![piece(), Step::Wait(Duration::from_secs(60)), piece()];
        assert_eq!(left(http2(None), silent).await, (1, true));
        assert_eq!(left(http2(Some(1 << 20)), many()).await, (100, false));
        let empty = (0..2000).map(|_| Step::Data(Bytes::new())).collect();
        assert_eq!(left(http2(None), empty).await, (999, false));
        let http1 = BodyHead {
            declared: None,
            version: Version::HTTP_11,
        };
        // Only the bytes that have arrived are read, and no body that is declared large.
        assert_eq!(left(http1, many()).await, (95, false));
        let ready = vec![piece(), piece()];
        assert_eq!(left(http1, ready).await, (0, false));
        let silent = vec![piece(), Step::Wait(Duration::from_secs(60)), piece()];
        assert_eq!(left(http1, silent).await, (1, false));
        let large = BodyHead {
            declared: Some(1 << 20),
            ..http1
        };
        assert_eq!(left(large, many()).await, (100, false));
        assert_eq!(
            left(http2(None), vec![Step::Fail, piece()]).await,
            (1, false)
        );
    }
}
