//! Bare PostgreSQL: the rows of events that no store can do without, inserted in groups, one statement a table.

mod cpu;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hookgate::internals::instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

pub(crate) use cpu::CpuTimes;

use crate::store_load::{BODY, DAY, body, claim_key, headers, mix, time, uid};

/// Events in a transaction: as many as there are committers.
const GROUP: usize = 64;
/// Sessions that insert at the same time, as many as a node has.
const SESSIONS: usize = 2;

/// The tables of a store, without a store.
pub(crate) struct BarePostgres {
    runtime: tokio::runtime::Runtime,
    port: u16,
    /// Schema of the store whose tables are copied.
    schema: String,
    next: Arc<AtomicI64>,
}

impl BarePostgres {
    /// The schema must exist already.
    pub(crate) fn new(port: u16, schema: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            runtime,
            port,
            schema: schema.to_owned(),
            next: Arc::new(AtomicI64::new(1)),
        }
    }

    /// Inserts for a time. Returns the events a second.
    pub(crate) fn rate(&self, span: Duration) -> f64 {
        self.runtime.block_on(self.set_up());
        let first = self.next.load(Ordering::Relaxed);
        let began = instant();
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|_| {
                let (port, next) = (self.port, Arc::clone(&self.next));
                self.runtime.spawn(async move {
                    let session = BareSession::open(port).await;
                    while began.elapsed() < span {
                        session
                            .insert(next.fetch_add(GROUP as i64, Ordering::Relaxed))
                            .await;
                    }
                })
            })
            .collect();
        for session in sessions {
            self.runtime.block_on(session).expect("no panic");
        }
        (self.next.load(Ordering::Relaxed) - first) as f64 / began.elapsed().as_secs_f64()
    }

    /// Copies the tables with their indexes, the first time.
    async fn set_up(&self) {
        let client = connect(self.port).await;
        let mut sql = "CREATE SCHEMA IF NOT EXISTS bare;".to_owned();
        for table in ["event", "content", "claim", "open_delivery"] {
            let schema = &self.schema;
            sql.push_str(&format!(
                "CREATE TABLE IF NOT EXISTS bare.{table} (LIKE {schema}.{table} INCLUDING ALL);"
            ));
        }
        client.batch_execute(&sql).await.expect("it is set up");
    }

    /// Makes so many copies of the only event of the store, with its delivery, and makes the statistics true.
    pub(crate) fn multiply(&self, count: u64) {
        let schema = &self.schema;
        let sql = format!(
            "SET search_path = {schema};
            INSERT INTO event SELECT -n, decode(md5(n::text), 'hex'), kind, received_ms, body_size, 'copy-' || n, NULL, event_type
                FROM event, generate_series(1, {count}) n;
            INSERT INTO content SELECT -n, sealing_key, head, body FROM content, generate_series(1, {count}) n;
            INSERT INTO open_delivery SELECT (jsonb_populate_record(d, jsonb_build_object('id', -n, 'event', -n))).*
                FROM open_delivery d, generate_series(1, {count}) n;
            ANALYZE"
        );
        self.runtime.block_on(async {
            connect(self.port)
                .await
                .batch_execute(&sql)
                .await
                .expect("it is multiplied");
        });
    }

    /// CPU times of the server and of this process until now.
    pub(crate) fn cpu(&self) -> CpuTimes {
        let backend = self.runtime.block_on(async {
            let row = connect(self.port)
                .await
                .query_one("SELECT pg_backend_pid()", &[])
                .await;
            row.expect("a process").get(0)
        });
        CpuTimes::read(backend)
    }

    /// The size of all tables of the schema with their indexes.
    pub(crate) fn size_mib(&self) -> f64 {
        let sql = "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'";
        self.runtime.block_on(async {
            let row = connect(self.port)
                .await
                .query_one(sql, &[&self.schema])
                .await;
            row.expect("a size").get::<_, i64>(0) as f64 / 1048576.0
        })
    }
}

async fn connect(port: u16) -> Client {
    let text = format!("host=127.0.0.1 port={port} user=hookgate dbname=hookgate");
    let (client, connection) = tokio_postgres::connect(&text, NoTls)
        .await
        .expect("a session");
    tokio::spawn(connection);
    client
}

/// One session with its prepared statements.
struct BareSession {
    client: Client,
    statements: Vec<Statement>,
    head: Vec<u8>,
    body: Vec<u8>,
}

impl BareSession {
    async fn open(port: u16) -> Self {
        let client = connect(port).await;
        let mut statements = Vec::new();
        for sql in [
            "INSERT INTO bare.claim (route, key, expires_ms, status, event)
                SELECT 1, key, at + $3, 202, id FROM unnest($1::bigint[], $2::bytea[], $4::bigint[]) AS r (id, key, at)
                ORDER BY key ON CONFLICT DO NOTHING",
            "INSERT INTO bare.event SELECT id, uid, 1, at, $4, name, NULL, NULL
                FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $5::text[]) AS r (id, uid, at, name)",
            "INSERT INTO bare.content SELECT id, 0, head, body FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS r (id, head, body)",
            "INSERT INTO bare.open_delivery
                (id, event, lane, destination, state, is_behind, priority, due_ms, attempts, round, round_began_ms, created_ms, size)
                SELECT id, id, 1, 1, 0, false, 0, at, 0, 0, at, at, $3 FROM unnest($1::bigint[], $2::bigint[]) AS r (id, at)",
        ] {
            statements.push(client.prepare(sql).await.expect("a statement"));
        }
        // As long as the head that the store makes of the same event.
        let head = headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 8)
            .sum::<usize>();
        Self {
            client,
            statements,
            head: vec![7; head + 80],
            body: body().to_vec(),
        }
    }

    /// Inserts one group in a transaction. All statements go out together, as the store sends them.
    async fn insert(&self, first: i64) {
        let numbers: Vec<i64> = (first..first + GROUP as i64).collect();
        let of = |number: &i64| number.unsigned_abs();
        let keys: Vec<Vec<u8>> = numbers
            .iter()
            .map(|each| claim_key(of(each)).to_vec())
            .collect();
        let uids: Vec<Vec<u8>> = numbers
            .iter()
            .map(|each| uid(of(each)).as_bytes().to_vec())
            .collect();
        let times: Vec<i64> = numbers.iter().map(|each| time(of(each))).collect();
        let names: Vec<String> = numbers
            .iter()
            .map(|each| format!("{:016x}-{each}", mix(of(each))))
            .collect();
        let heads = vec![&self.head[..]; GROUP];
        let bodies = vec![&self.body[..]; GROUP];
        let (window, size, total) = (7 * DAY, BODY as i64, (self.head.len() + BODY) as i64);
        let values: [Vec<&(dyn ToSql + Sync)>; 4] = [
            vec![&numbers, &keys, &window, &times],
            vec![&numbers, &uids, &times, &size, &names],
            vec![&numbers, &heads, &bodies],
            vec![&numbers, &times, &total],
        ];
        let [claim, event, content, delivery] = &values;
        let run = |at: usize, values| self.client.execute(&self.statements[at], values);
        let done = tokio::join!(
            self.client.batch_execute("BEGIN"),
            run(0, claim),
            run(1, event),
            run(2, content),
            run(3, delivery),
            self.client.batch_execute("COMMIT"),
        );
        done.0.expect("it begins");
        for inserted in [done.1, done.2, done.3, done.4] {
            inserted.expect("it is inserted");
        }
        done.5.expect("it is committed");
    }
}
