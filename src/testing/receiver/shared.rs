//! State that a receiver shares with its connections.

use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;

use crate::net::request_file::RequestFile;
use crate::testing::receiver::request_buffer::RequestBuffer;
use crate::testing::receiver::respond::ResponseBehavior;

/// Time that requests in flight have to complete when the receiver stops.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// Function that verifies a request with its time of arrival. Returns a text in both cases: verified, or the reason.
pub type RequestJudge = Box<dyn Fn(&RequestFile, i64) -> Result<String, String> + Send + Sync>;

pub(super) struct ReceiverShared {
    pub(super) requests: RequestBuffer,
    pub(super) respond: Mutex<ResponseBehavior>,
    pub(super) judge: OnceLock<RequestJudge>,
}

impl ReceiverShared {
    pub(super) fn respond(&self) -> ResponseBehavior {
        self.respond.lock().clone()
    }
}
