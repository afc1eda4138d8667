//! NATS JetStream: a durable consumer that is pulled.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, AckKind, Message};
use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt;
use mlops_core::Schema;
use serde_json::{Map, Value};
use tokio::runtime::{Builder, Runtime};

use super::{Events, Polled, StreamSource};
use crate::error::{Core, Error, Result};
use crate::json;

/// Longest message that is read.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Most messages of one pull.
const PULL_MAX: usize = 16_384;

/// Events of one JetStream stream, one JSON object per message: a field per column, as the store's HTTP interface reads
/// them. Fields that the schema does not name are left out; missing ones are null.
///
/// Messages that are no such event, or longer than 1 MiB, are reported as unreadable and terminated when the events around them
/// are acknowledged. What is not acknowledged within the consumer's wait is delivered again by the server, to this
/// consumer or another one of the same durable name. The connection comes back by itself.
pub struct NatsSource {
    schema: SchemaRef,
    client: Client,
    consumer: PullConsumer,
    pending: VecDeque<Pending>,
    delivered: u64,
    timeout: Duration,
    /// Last, for the client needs it to close.
    runtime: Runtime,
}

struct Pending {
    position: u64,
    message: Message,
    is_readable: bool,
}

/// Collects the settings of a [`NatsSource`].
#[derive(Clone)]
pub struct NatsSourceBuilder {
    url: String,
    stream: String,
    durable: String,
    schema: Schema,
    subject: String,
    ack_wait: Duration,
    timeout: Duration,
    credentials: Option<(String, String)>,
}

impl fmt::Debug for NatsSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("NatsSourceBuilder");
        shown.field("stream", &self.stream).field("durable", &self.durable).finish_non_exhaustive()
    }
}

impl NatsSource {
    /// Starts a source of events of `schema` from the JetStream stream `stream` of the server at `url`
    /// (`nats://host:port`), under the durable consumer name `durable`.
    pub fn builder(
        url: impl Into<String>,
        stream: impl Into<String>,
        durable: impl Into<String>,
        schema: Schema,
    ) -> NatsSourceBuilder {
        NatsSourceBuilder {
            url: url.into(),
            stream: stream.into(),
            durable: durable.into(),
            schema,
            subject: String::new(),
            ack_wait: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            credentials: None,
        }
    }

    /// Takes up to `most` messages that are there, and waits for the first of them.
    fn pull(&self, most: usize, wait: Duration) -> Result<Vec<Message>> {
        let until = Instant::now() + wait;
        self.runtime.block_on(async {
            let mut all = self.collect(self.consumer.fetch().max_messages(most).messages(), most).await?;
            while all.is_empty() {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(all);
                }
                let first = self.consumer.batch().max_messages(1).expires(left).messages();
                all = self.collect(first, 1).await?;
                if !all.is_empty() && most > 1 {
                    let rest = self.consumer.fetch().max_messages(most - 1).messages();
                    all.extend(self.collect(rest, most - 1).await?);
                }
            }
            Ok(all)
        })
    }

    async fn collect<S, E>(
        &self,
        asked: impl Future<Output = std::result::Result<S, E>>,
        most: usize,
    ) -> Result<Vec<Message>>
    where
        S: futures_util::Stream<Item = std::result::Result<Message, Box<dyn StdError + Send + Sync>>> + Unpin,
        E: StdError + Send + Sync + 'static,
    {
        let mut stream = tokio::time::timeout(self.timeout, asked).await.map_err(|_| late())?.map_err(failed)?;
        let mut messages = Vec::new();
        // The stream ends by itself, at the latest when the server says that the time is over; a dead server says nothing.
        while messages.len() < most {
            match tokio::time::timeout(self.timeout, stream.next()).await {
                Ok(Some(Ok(message))) => messages.push(message),
                Ok(Some(Err(cause))) if messages.is_empty() => return Err(Core::external("nats", cause).into()),
                Ok(None | Some(Err(_))) | Err(_) => break,
            }
        }
        Ok(messages)
    }

    /// The events in `messages`, and why others are none.
    fn read(&mut self, messages: Vec<Message>) -> Result<(RecordBatch, Vec<String>)> {
        let mut objects = Vec::with_capacity(messages.len());
        let mut unreadable = Vec::new();
        let parsed: Vec<_> = messages.iter().map(|message| parse(&message.payload)).collect();
        let whole: Vec<&Map<String, Value>> = parsed.iter().filter_map(|object| object.as_ref().ok()).collect();
        // Together if all of them fit, one by one only where some do not.
        let all_fit = self.batch(&whole).is_ok();
        for (message, object) in messages.into_iter().zip(&parsed) {
            self.delivered += 1;
            let fits = object.as_ref().map_err(Clone::clone).and_then(|object| {
                if all_fit {
                    return Ok(object);
                }
                self.batch(&[object]).map(|_| object).map_err(|e| e.to_string())
            });
            let is_readable = fits.is_ok();
            match fits {
                Ok(object) => objects.push(object),
                Err(reason) => unreadable.push(reason),
            }
            self.pending.push_back(Pending { position: self.delivered, message, is_readable });
        }
        Ok((self.batch(&objects)?, unreadable))
    }

    fn batch(&self, objects: &[&Map<String, Value>]) -> Result<RecordBatch> {
        let column = |field: &Arc<arrow::datatypes::Field>| {
            let values = objects.iter().map(|object| object.get(field.name()));
            json::column(field.name(), field.data_type(), values)
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<Vec<ArrayRef>>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(objects.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }

    /// Answers messages, and waits until the server has the answers.
    fn answer(&self, answers: &[(&Message, Option<AckKind>)]) -> Result<()> {
        self.runtime.block_on(async {
            for (message, kind) in answers {
                let told = match kind {
                    None => message.ack().await,
                    Some(kind) => message.ack_with(*kind).await,
                };
                told.map_err(|cause| Core::external("nats", cause))?;
            }
            let flushed = tokio::time::timeout(self.timeout, self.client.flush()).await;
            Ok(flushed.map_err(|_| late())?.map_err(failed)?)
        })
    }
}

/// The object in `payload`.
fn parse(payload: &[u8]) -> std::result::Result<Map<String, Value>, String> {
    if payload.len() > MESSAGE_BYTES_MAX {
        return Err(format!("{} bytes, more than 1 MiB", payload.len()));
    }
    // The parser quotes nothing; where it stopped is told by line and column.
    serde_json::from_slice(payload).map_err(|e| format!("no JSON object: {e}"))
}

fn failed(cause: impl StdError + Send + Sync + 'static) -> Core {
    Core::external("nats", cause)
}

fn late() -> Core {
    Core::external("nats", std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within the timeout"))
}

impl StreamSource for NatsSource {
    fn poll(&mut self, most: usize, wait: Duration) -> Result<Polled> {
        let messages = self.pull(most.clamp(1, PULL_MAX), wait)?;
        if messages.is_empty() {
            return Ok(Polled::Idle);
        }
        let (rows, unreadable) = self.read(messages)?;
        Ok(Polled::Events(Events { rows, position: self.delivered, unreadable }))
    }

    fn acknowledge(&mut self, position: u64) -> Result<()> {
        let count = self.pending.partition_point(|pending| pending.position <= position);
        let kind = |pending: &Pending| (!pending.is_readable).then_some(AckKind::Term);
        let answers: Vec<_> = self.pending.iter().take(count).map(|p| (&p.message, kind(p))).collect();
        self.answer(&answers)?;
        self.pending.drain(..count);
        Ok(())
    }

    fn resume(&mut self) -> Result<()> {
        let answers: Vec<_> = self.pending.iter().map(|p| (&p.message, Some(AckKind::Nak(None)))).collect();
        self.answer(&answers)?;
        self.pending.clear();
        Ok(())
    }
}

impl fmt::Debug for NatsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSource").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl NatsSourceBuilder {
    /// Only messages of this subject, which may have wildcards. Default all of the stream.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// How long the server waits for an acknowledgement before it delivers again: longer than one delivery takes. Default
    /// 30 s.
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.ack_wait = wait;
        self
    }

    /// How long to wait for an answer of the server. Default 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// User and password. Default none.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// Connects, and makes the durable consumer where there is none.
    ///
    /// # Errors
    /// `Core(External)` when the server cannot be reached or refuses, `Core(NotFound)` when it has no such stream.
    pub fn build(self) -> Result<NatsSource> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|e| Core::io("runtime of the nats client", e))?;
        let timeout = self.timeout;
        let (client, consumer) = runtime.block_on(async {
            tokio::time::timeout(timeout.saturating_mul(2), self.connect()).await.map_err(|_| Error::from(late()))?
        })?;
        let schema = self.schema.arrow().clone();
        Ok(NatsSource { schema, client, consumer, pending: VecDeque::new(), delivered: 0, timeout, runtime })
    }

    async fn connect(&self) -> Result<(Client, PullConsumer)> {
        let mut options = ConnectOptions::new().connection_timeout(self.timeout).request_timeout(Some(self.timeout));
        if let Some((user, password)) = &self.credentials {
            options = options.user_and_password(user.clone(), password.clone());
        }
        let client = options.connect(&self.url).await.map_err(failed)?;
        let stream = jetstream::new(client.clone()).get_stream(&self.stream).await.map_err(|cause| {
            let is_missing = format!("{cause:?}").contains("10059");
            if is_missing { Core::not_found("stream", self.stream.as_str()) } else { failed(cause) }
        })?;
        let config = pull::Config {
            durable_name: Some(self.durable.clone()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.ack_wait,
            filter_subject: self.subject.clone(),
            max_ack_pending: PULL_MAX as i64,
            ..pull::Config::default()
        };
        let consumer = stream.get_or_create_consumer(&self.durable, config).await.map_err(failed)?;
        Ok((client, consumer))
    }
}
