//! The common script with the rdkafka crate. Arguments: HOST:PORT PREFIX.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

type Fault = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T> = Result<T, Fault>;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const TOTAL: usize = 60;
const HALF: usize = 30;
const PARTITIONS: usize = 3;
const WAIT: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, PartialEq)]
struct Record {
    partition: i32,
    offset: i64,
    time: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// The error code of the protocol, where a check wants one.
#[derive(Debug)]
struct Code(RDKafkaErrorCode);

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Code {}

/// Keeps the first error of the deliveries.
#[derive(Clone, Default)]
struct Deliveries(Arc<Mutex<Option<RDKafkaErrorCode>>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((e, _)) = result {
            self.0.lock().unwrap().get_or_insert(e.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown));
        }
    }
}

#[derive(Clone)]
struct Script {
    addr: String,
    prefix: String,
    base: i64,
    admin: Arc<AdminClient<DefaultClientContext>>,
}

fn check(ok: bool, text: impl FnOnce() -> String) -> Outcome<()> {
    if ok { Ok(()) } else { Err(text().into()) }
}

fn until(what: &str, mut so: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let end = Instant::now() + Duration::from_secs(50);
    while !so()? {
        check(Instant::now() < end, || format!("never happened: {what}"))?;
        thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

fn wants(code: RDKafkaErrorCode, got: Outcome<()>) -> Outcome<()> {
    match got {
        Ok(()) => Err(format!("no error, where {code:?} belongs").into()),
        Err(e) => match e.downcast_ref::<Code>() {
            Some(c) if c.0 == code => Ok(()),
            _ => Err(format!("the error is {e}, not {code:?}").into()),
        },
    }
}

fn noise(n: usize) -> Vec<u8> {
    let mut x = n as u64 | 1;
    (0..n)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        })
        .collect()
}

impl Script {
    fn topic(&self, name: &str) -> String {
        format!("{}-{}", self.prefix, name)
    }

    fn records(&self, n: usize) -> Vec<Record> {
        (0..n)
            .map(|i| Record {
                partition: 0,
                offset: i as i64,
                time: self.base + i as i64 * 1000,
                key: Some(format!("key-{i}").into_bytes()),
                value: Some(format!("value-{i} ").repeat(1 + i * 37 % 100).into_bytes()),
                headers: vec![
                    ("n".into(), Some(i.to_string().into_bytes())),
                    ("bin".into(), Some(vec![0, 255, i as u8])),
                    ("null".into(), None),
                ],
            })
            .collect()
    }

    fn config(&self) -> ClientConfig {
        let mut c = ClientConfig::new();
        c.set("bootstrap.servers", &self.addr).set("message.max.bytes", "8000000");
        c
    }

    fn produce(&self, topic: &str, partition: Option<i32>, records: &[Record], set: &[(&str, &str)]) -> Outcome<()> {
        let deliveries = Deliveries::default();
        let mut c = self.config();
        c.set("linger.ms", "5").set("max.in.flight", "1").set("batch.num.messages", "20").set("partitioner", "murmur2_random");
        for (k, v) in set {
            c.set(*k, *v);
        }
        let p: BaseProducer<Deliveries> = c.create_with_context(deliveries.clone())?;
        let topic = self.topic(topic);
        for r in records {
            let mut headers = OwnedHeaders::new();
            for (k, v) in &r.headers {
                headers = headers.insert(Header { key: k, value: v.as_ref() });
            }
            let mut b: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic).timestamp(r.time).headers(headers);
            b.key = r.key.as_deref();
            b.payload = r.value.as_deref();
            b.partition = partition;
            p.send(b).map_err(|(e, _)| e)?;
        }
        p.flush(Duration::from_secs(30))?;
        let first = deliveries.0.lock().unwrap().take();
        match first {
            Some(code) => Err(Box::new(Code(code))),
            None => Ok(()),
        }
    }

    fn consumer(&self, group: &str) -> Outcome<BaseConsumer> {
        let mut c = self.config();
        c.set("group.id", group).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        c.set("heartbeat.interval.ms", "200").set("fetch.wait.max.ms", "100");
        Ok(c.create()?)
    }

    fn consume(&self, topic: &str, partition: i32, from: i64, n: usize) -> Outcome<Vec<Record>> {
        let c = self.consumer("none")?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic(topic), partition, Offset::Offset(from))?;
        c.assign(&list)?;
        let mut out = Vec::new();
        until(&format!("{n} records"), || {
            if out.len() < n {
                poll(&c, &mut out)?;
            }
            Ok(out.len() >= n)
        })?;
        Ok(out)
    }

    fn round_trip(&self, topic: &str, records: &[Record], set: &[(&str, &str)]) -> Outcome<()> {
        self.produce(topic, Some(0), records, set)?;
        same(&self.consume(topic, 0, 0, records.len())?, records, 0)
    }

    fn create(&self, topic: &str, partitions: i32, replicas: i32, key: &str, value: &str) -> Outcome<()> {
        let t = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas)).set(key, value);
        one(block_on(self.admin.create_topics([&t], &AdminOptions::new()))?.pop().map(|r| r.map(drop).map_err(|e| e.1)))
    }

    fn partitions(&self, topic: &str) -> Outcome<usize> {
        let m = self.admin.inner().fetch_metadata(Some(&self.topic(topic)), WAIT)?;
        match m.topics()[0].error() {
            Some(e) => Err(Box::new(Code(e.into()))),
            None => Ok(m.topics()[0].partitions().len()),
        }
    }

    fn config_is(&self, value: &str) -> Outcome<()> {
        let topic = self.topic("keys");
        until(&format!("retention.ms={value}"), || {
            let rs = block_on(self.admin.describe_configs([&ResourceSpecifier::Topic(&topic)], &AdminOptions::new()))?;
            let r = rs.into_iter().next().ok_or("no answer")?.map_err(|c| Box::new(Code(c)))?;
            Ok(r.get("retention.ms").and_then(|e| e.value.as_deref()) == Some(value))
        })
    }

    fn offsets(&self, topic: &str, partition: i32) -> Outcome<(i64, i64)> {
        Ok(self.admin.inner().fetch_watermarks(&self.topic(topic), partition, WAIT)?)
    }
}

fn one(r: Option<Result<(), RDKafkaErrorCode>>) -> Outcome<()> {
    r.ok_or("no answer")?.map_err(|c| Box::new(Code(c)) as Fault)
}

fn poll<C: rdkafka::consumer::ConsumerContext>(c: &BaseConsumer<C>, out: &mut Vec<Record>) -> Outcome<()> {
    let Some(m) = c.poll(Duration::from_millis(50)) else { return Ok(()) };
    let m = m?;
    out.push(Record {
        partition: m.partition(),
        offset: m.offset(),
        time: m.timestamp().to_millis().unwrap_or(-1),
        key: m.key().map(<[u8]>::to_vec),
        value: m.payload().map(<[u8]>::to_vec),
        headers: m.headers().map_or(Vec::new(), |h| h.iter().map(|h| (h.key.to_string(), h.value.map(<[u8]>::to_vec))).collect()),
    });
    Ok(())
}

fn same(got: &[Record], want: &[Record], base: i64) -> Outcome<()> {
    check(got.len() == want.len(), || format!("{} records read, {} written", got.len(), want.len()))?;
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let w = Record { offset: base + i as i64, ..w.clone() };
        check(*g == w, || format!("record {i} is {:.300}, not {:.300}", format!("{g:?}"), format!("{w:?}")))?;
    }
    Ok(())
}

fn topics(run: &mut dyn FnMut(&'static str, fn(&Script) -> Outcome<()>)) {
    run("create", |s| {
        for t in CODECS.iter().chain(&["nulls", "large", "idem", "acks", "trim", "keys"]) {
            let n = if *t == "keys" { PARTITIONS as i32 } else { 1 };
            s.create(&s.topic(t), n, 1, "retention.ms", "3600000")?;
        }
        s.create(&s.topic("append"), 1, 1, "message.timestamp.type", "LogAppendTime")
    });
    run("describe", |s| {
        until("three partitions", || Ok(matches!(s.partitions("keys"), Ok(PARTITIONS))))?;
        s.config_is("3600000")
    });
    run("alter", |s| {
        let topic = s.topic("keys");
        let c = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("retention.ms", "7200000");
        one(block_on(s.admin.alter_configs([&c], &AdminOptions::new()))?.pop().map(|r| r.map(drop).map_err(|e| e.1)))?;
        s.config_is("7200000")
    });
}

fn produce(run: &mut dyn FnMut(&'static str, fn(&Script) -> Outcome<()>)) {
    run("none", |s| s.round_trip("none", &s.records(20), &[("compression.type", "none")]));
    run("gzip", |s| s.round_trip("gzip", &s.records(20), &[("compression.type", "gzip")]));
    run("snappy", |s| s.round_trip("snappy", &s.records(20), &[("compression.type", "snappy")]));
    run("lz4", |s| s.round_trip("lz4", &s.records(20), &[("compression.type", "lz4")]));
    run("zstd", |s| s.round_trip("zstd", &s.records(20), &[("compression.type", "zstd")]));
    run("keys", keys);
    run("nulls", |s| {
        let mut r = s.records(4);
        r[0].key = None;
        r[1].value = None;
        (r[2].key, r[2].value) = (Some(vec![]), Some(vec![]));
        r[3].headers = vec![];
        s.round_trip("nulls", &r, &[])
    });
    fn large(s: &Script, n: usize) -> [Record; 1] {
        [Record { partition: 0, offset: 0, time: s.base, key: None, value: Some(noise(n)), headers: vec![] }]
    }
    run("large", |s| s.round_trip("large", &large(s, 900_000), &[]));
    run("toobig", |s| wants(RDKafkaErrorCode::MessageSizeTooLarge, s.produce("large", Some(0), &large(s, 2_000_000), &[])));
    run("idem", |s| s.round_trip("idem", &s.records(200), &[("enable.idempotence", "true"), ("max.in.flight", "5")]));
    fn acks(s: &Script, acks: &str, from: i64) -> Outcome<()> {
        s.produce("acks", Some(0), &s.records(10), &[("acks", acks)])?;
        same(&s.consume("acks", 0, from, 10)?, &s.records(10), from)
    }
    run("acks0", |s| acks(s, "0", 0));
    run("acks1", |s| acks(s, "1", 10));
    run("acksall", |s| acks(s, "all", 20));
    run("times", |s| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&s.topic("none"), 0, Offset::Offset(s.base + 4500))?;
        let at = s.consumer("none")?.offsets_for_times(list, WAIT)?.elements()[0].offset();
        check(at == Offset::Offset(5), || format!("the offset for a time is {at:?}, not 5"))
    });
    run("append", |s| {
        s.produce("append", Some(0), &s.records(3), &[("compression.type", "gzip")])?;
        for r in s.consume("append", 0, 0, 3)? {
            check((r.time - s.base - 600_000).abs() < 120_000, || format!("the time is {}", r.time))?;
        }
        Ok(())
    });
    run("offsets", |s| {
        let o = s.offsets("none", 0)?;
        check(o == (0, 20), || format!("the offsets are {o:?}"))
    });
    run("trim", |s| {
        s.produce("trim", Some(0), &s.records(10), &[])?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&s.topic("trim"), 0, Offset::Offset(7))?;
        let r = block_on(s.admin.delete_records(&list, &AdminOptions::new()))?;
        r.elements()[0].error()?;
        let o = s.offsets("trim", 0)?;
        check(o == (7, 10), || format!("the offsets are {o:?}"))?;
        same(&s.consume("trim", 0, 7, 3)?, &s.records(10)[7..], 7)
    });
}

fn keys(s: &Script) -> Outcome<()> {
    let mut rs = s.records(TOTAL);
    for (i, r) in rs.iter_mut().enumerate() {
        r.key = Some(format!("key-{}", i % 12).into_bytes());
        r.value = Some(i.to_string().into_bytes());
    }
    s.produce("keys", None, &rs, &[])?;
    let mut place = HashMap::new();
    let mut last: HashMap<Vec<u8>, i64> = HashMap::new();
    let mut total = 0;
    for p in 0..PARTITIONS as i32 {
        let end = s.offsets("keys", p)?.1;
        for r in s.consume("keys", p, 0, end as usize)? {
            let key = r.key.ok_or("a key is null")?;
            let n: i64 = String::from_utf8(r.value.ok_or("a value is null")?)?.parse()?;
            check(*place.entry(key.clone()).or_insert(p) == p, || format!("key {key:?} is in two partitions"))?;
            check(last.insert(key.clone(), n).is_none_or(|l| l < n), || format!("key {key:?} is out of order"))?;
            total += 1;
        }
    }
    check(total == TOTAL, || format!("{total} records"))
}

/// What the first member read and committed, for the checks after it.
#[derive(Default)]
struct Group {
    member: Option<BaseConsumer>,
    first: Vec<Record>,
    places: HashMap<i32, i64>,
}

static GROUP: Mutex<Option<Group>> = Mutex::new(None);

fn join(s: &Script, group: &str) -> Outcome<BaseConsumer> {
    let c = s.consumer(&s.topic(group))?;
    c.subscribe(&[&s.topic("keys")])?;
    Ok(c)
}

fn groups(run: &mut dyn FnMut(&'static str, fn(&Script) -> Outcome<()>)) {
    run("group", |s| {
        let mut g = Group { member: Some(join(s, "group")?), ..Group::default() };
        let c = g.member.as_ref().ok_or("no member")?;
        until("all records", || {
            poll(c, &mut g.first)?;
            Ok(g.first.len() >= TOTAL)
        })?;
        *GROUP.lock().unwrap() = Some(g);
        Ok(())
    });
    run("commit", |s| {
        let mut lock = GROUP.lock().unwrap();
        let g = lock.as_mut().ok_or("no group")?;
        let mut list = TopicPartitionList::new();
        for r in &g.first[..HALF] {
            g.places.insert(r.partition, r.offset + 1);
        }
        for (p, o) in &g.places {
            list.add_partition_offset(&s.topic("keys"), *p, Offset::Offset(*o))?;
        }
        let c = g.member.take().ok_or("no member")?;
        c.commit(&list, CommitMode::Sync)?;
        drop(c);
        let got = s.consumer(&s.topic("group"))?.committed_offsets(list.clone(), WAIT)?;
        for e in got.elements() {
            let want = Offset::Offset(g.places[&e.partition()]);
            check(e.offset() == want, || format!("partition {} is committed at {:?}, not {want:?}", e.partition(), e.offset()))?;
        }
        Ok(())
    });
    run("resume", |s| {
        let mut places = GROUP.lock().unwrap().as_ref().ok_or("no group")?.places.clone();
        let left = TOTAL - places.values().sum::<i64>() as usize;
        let c = join(s, "group")?;
        let mut got = Vec::new();
        until(&format!("the {left} records left"), || {
            poll(&c, &mut got)?;
            Ok(got.len() >= left)
        })?;
        for r in &got {
            let want = places.entry(r.partition).or_insert(0);
            check(r.offset == *want, || format!("partition {} goes on at {}, not {want}", r.partition, r.offset))?;
            *want += 1;
        }
        check(got.len() == left, || format!("{} records, not {left}", got.len()))
    });
    run("share", share);
    run("groups", |s| {
        let group = s.topic("group");
        let listed = || -> Outcome<bool> { Ok(s.admin.inner().fetch_group_list(None, WAIT)?.groups().iter().any(|g| g.name() == group)) };
        check(listed()?, || "the group is not listed".into())?;
        one(block_on(s.admin.delete_groups(&[&group], &AdminOptions::new()))?.pop().map(|r| r.map(drop).map_err(|e| e.1)))?;
        check(!listed()?, || "the group is still listed".into())
    });
}

fn share(s: &Script) -> Outcome<()> {
    let count = |c: &BaseConsumer| -> Outcome<usize> { Ok(c.assignment()?.count()) };
    let mut seen = Vec::new();
    let a = join(s, "share")?;
    until("one member has all", || {
        poll(&a, &mut seen)?;
        Ok(count(&a)? == PARTITIONS)
    })?;
    let b = join(s, "share")?;
    until("two members share", || {
        poll(&a, &mut seen)?;
        poll(&b, &mut seen)?;
        Ok(count(&a)? > 0 && count(&b)? > 0 && count(&a)? + count(&b)? == PARTITIONS)
    })?;
    drop(b);
    until("the member left has all again", || {
        poll(&a, &mut seen)?;
        let places: HashSet<_> = seen.iter().map(|r| (r.partition, r.offset)).collect();
        Ok(count(&a)? == PARTITIONS && places.len() == TOTAL)
    })
}

fn errors(run: &mut dyn FnMut(&'static str, fn(&Script) -> Outcome<()>)) {
    run("grow", |s| {
        let topic = s.topic("keys");
        let n = NewPartitions::new(&topic, 5);
        one(block_on(s.admin.create_partitions([&n], &AdminOptions::new()))?.pop().map(|r| r.map(drop).map_err(|e| e.1)))?;
        until("five partitions", || Ok(s.partitions("keys")? == 5))
    });
    run("e-topic", |s| wants(RDKafkaErrorCode::UnknownTopicOrPartition, s.partitions("absent").map(drop)));
    run("e-name", |s| {
        wants(RDKafkaErrorCode::InvalidTopic, s.create(&format!("{}/bad", s.prefix), 1, 1, "retention.ms", "1"))
    });
    run("e-repl", |s| {
        wants(RDKafkaErrorCode::InvalidReplicationFactor, s.create(&s.topic("three"), 1, 3, "retention.ms", "1"))
    });
    run("e-dup", |s| wants(RDKafkaErrorCode::TopicAlreadyExists, s.create(&s.topic("keys"), 1, 1, "retention.ms", "1")));
    run("delete", |s| {
        let names: Vec<String> = CODECS.iter().chain(&["keys"]).map(|t| s.topic(t)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for r in block_on(s.admin.delete_topics(&names, &AdminOptions::new()))? {
            one(Some(r.map(drop).map_err(|e| e.1)))?;
        }
        until("the topic is gone", || match s.partitions("keys") {
            Err(e) => Ok(matches!(e.downcast_ref(), Some(Code(RDKafkaErrorCode::UnknownTopicOrPartition)))),
            Ok(_) => Ok(false),
        })
    });
}

fn main() -> Result<(), KafkaError> {
    let args: Vec<String> = std::env::args().collect();
    let mut c = ClientConfig::new();
    c.set("bootstrap.servers", &args[1]).set("log_level", "0");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    let s = Script { addr: args[1].clone(), prefix: args[2].clone(), base: (now - 600) * 1000, admin: Arc::new(c.create()?) };
    let mut failed = false;
    let script = s;
    let mut run = |name: &'static str, body: fn(&Script) -> Outcome<()>| {
        let (done, end) = mpsc::channel();
        let s = script.clone();
        thread::spawn(move || done.send(body(&s).map_err(|e| e.to_string())));
        match end.recv_timeout(Duration::from_secs(60)) {
            Ok(Ok(())) => println!("ok {name}"),
            Ok(Err(e)) => {
                failed = true;
                println!("fail {name}: {}", e.replace('\n', " "));
            }
            Err(e) => {
                failed = true;
                println!("fail {name}: {e}");
            }
        }
    };
    topics(&mut run);
    produce(&mut run);
    groups(&mut run);
    errors(&mut run);
    std::process::exit(i32::from(failed))
}
