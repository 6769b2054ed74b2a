// The common script with kafkajs. Arguments: HOST:PORT PREFIX.
'use strict'
process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'
const crypto = require('node:crypto')
const kafkajs = require('kafkajs')
const { CompressionTypes, CompressionCodecs, ConfigResourceTypes, Kafka, logLevel } = kafkajs
const Snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const zstd = require('@bokuweb/zstd-wasm')

CompressionCodecs[CompressionTypes.Snappy] = Snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4.compressFrame(encoder.buffer),
  decompress: async buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})

const [addr, prefix] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'compat', brokers: [addr], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 5 } })
const admin = kafka.admin()
const topic = name => `${prefix}-${name}`
const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD }
const TOTAL = 60
const HALF = 30
const PARTITIONS = 3
const base = Math.floor(Date.now() / 1000 - 600) * 1000
let failed = false

const check = (ok, text) => {
  if (!ok) throw new Error(text)
}
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

async function until(what, so) {
  const end = Date.now() + 50_000
  while (!(await so())) {
    check(Date.now() < end, `never happened: ${what}`)
    await pause(20)
  }
}

async function run(name, body) {
  let timer
  const limit = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no answer in 60 s')), 60_000) })
  try {
    await Promise.race([body(), limit])
    console.log(`ok ${name}`)
  } catch (e) {
    failed = true
    console.log(`fail ${name}: ${String(e.type || '')} ${String(e.message).replaceAll('\n', ' ')} ${(e.partitions || []).map(p => p.error)}`)
  } finally {
    clearTimeout(timer)
  }
}

async function wants(type, body) {
  try {
    await body()
  } catch (e) {
    const inner = e.cause || (e.errors && e.errors[0]) || e
    check(e.type === type || inner.type === type, `the error is ${e.type || inner.type} ${e.message}, not ${type}`)
    return
  }
  throw new Error(`no error, where ${type} belongs`)
}

const records = n => Array.from({ length: n }, (_, i) => ({
  partition: 0,
  key: Buffer.from(`key-${i}`),
  value: Buffer.from(`value-${i} `.repeat(1 + (i * 37) % 100)),
  timestamp: String(base + i * 1000),
  headers: { n: Buffer.from(String(i)), bin: Buffer.from([0, 255, i % 256]) },
}))

const equal = (a, b) => (a === null || b === null ? a === b : Buffer.compare(a, b) === 0)

function same(got, want, from = 0) {
  check(got.length === want.length, `${got.length} records read, ${want.length} written`)
  got.forEach((g, i) => {
    const w = want[i]
    check(g.offset === String(from + i), `record ${i} has offset ${g.offset}, not ${from + i}`)
    check(equal(g.key, w.key), `record ${i} has key ${g.key}, not ${w.key}`)
    check(equal(g.value, w.value), `record ${i} has another value`)
    check(g.timestamp === w.timestamp, `record ${i} has time ${g.timestamp}, not ${w.timestamp}`)
    const names = Object.keys(w.headers || {})
    check(names.length === Object.keys(g.headers).length, `record ${i} has other headers`)
    for (const h of names) check(equal(g.headers[h], w.headers[h]), `record ${i} has another header ${h}`)
  })
}

async function produce(name, messages, { codec = 'none', acks = -1, idempotent = false } = {}) {
  const p = kafka.producer({ idempotent, maxInFlightRequests: 1, createPartitioner: kafkajs.Partitioners.DefaultPartitioner, allowAutoTopicCreation: false })
  await p.connect()
  try {
    const size = idempotent ? 20 : messages.length
    for (let i = 0; i < messages.length; i += size) {
      await p.send({ topic: topic(name), messages: messages.slice(i, i + size), compression: CODECS[codec], acks })
    }
  } finally {
    await p.disconnect()
  }
}

// kafkajs reads in groups only, so a group that nobody else has reads one partition from a place.
let readers = 0
async function consume(name, partition, from, n) {
  if (n === 0) return []
  const c = kafka.consumer({ groupId: `${prefix}-reader-${readers++}`, maxWaitTimeInMs: 100, heartbeatInterval: 500 })
  const out = []
  await c.connect()
  await c.subscribe({ topic: topic(name), fromBeginning: true })
  await c.run({ autoCommit: false, eachMessage: async m => { if (m.partition === partition && Number(m.message.offset) >= from) out.push(m.message) } })
  c.seek({ topic: topic(name), partition, offset: String(from) })
  await until(`${n} records`, () => out.length >= n)
  await c.disconnect()
  return out
}

async function roundTrip(name, messages, how) {
  await produce(name, messages, how)
  same(await consume(name, 0, 0, messages.length), messages)
}

const partitions = async name => (await admin.fetchTopicMetadata({ topics: [topic(name)] })).topics[0].partitions.length
const create = (name, numPartitions, replicationFactor, config) => admin.createTopics({ waitForLeaders: false, topics: [{
  topic: name, numPartitions, replicationFactor, configEntries: Object.entries(config).map(([k, value]) => ({ name: k, value })) }] })
const config = async (name, key) => (await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic(name), configNames: [key] }] })).resources[0].configEntries[0].configValue
const offsets = async (name, partition) => {
  const o = (await admin.fetchTopicOffsets(topic(name))).find(x => x.partition === partition)
  return [Number(o.low), Number(o.high)]
}

async function topics() {
  await run('create', async () => {
    for (const t of [...Object.keys(CODECS), 'nulls', 'large', 'idem', 'acks', 'trim', 'keys']) {
      check(await create(topic(t), t === 'keys' ? PARTITIONS : 1, 1, { 'retention.ms': '3600000' }), `${t} was there`)
    }
    await create(topic('append'), 1, 1, { 'message.timestamp.type': 'LogAppendTime' })
  })
  await run('describe', async () => {
    await until('three partitions', async () => (await partitions('keys')) === PARTITIONS)
    check((await config('keys', 'retention.ms')) === '3600000', 'retention.ms is another')
  })
  await run('alter', async () => {
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic('keys'), configEntries: [{ name: 'retention.ms', value: '7200000' }] }] })
    await until('retention.ms=7200000', async () => (await config('keys', 'retention.ms')) === '7200000')
  })
}

async function produceAndConsume() {
  for (const codec of Object.keys(CODECS)) await run(codec, () => roundTrip(codec, records(20), { codec }))
  await run('keys', keys)
  await run('nulls', async () => {
    const r = records(4)
    r[0].key = null
    r[1].value = null
    r[2].key = r[2].value = Buffer.alloc(0)
    r[3].headers = {}
    await roundTrip('nulls', r)
  })
  const large = n => [{ partition: 0, key: Buffer.from('l'), value: crypto.randomBytes(n), timestamp: String(base), headers: {} }]
  await run('large', () => roundTrip('large', large(900_000)))
  await run('toobig', () => wants('MESSAGE_TOO_LARGE', () => produce('large', large(2_000_000))))
  await run('idem', () => roundTrip('idem', records(200), { idempotent: true }))
  let done = 0
  for (const [name, acks] of [['acks0', 0], ['acks1', 1], ['acksall', -1]]) {
    await run(name, async () => {
      await produce('acks', records(10), { acks })
      same(await consume('acks', 0, done, 10), records(10), done)
    })
    done += 10
  }
  await run('times', async () => {
    const at = await admin.fetchTopicOffsetsByTimestamp(topic('none'), base + 4500)
    check(at[0].offset === '5', `the offset for a time is ${at[0].offset}, not 5`)
  })
  await run('append', async () => {
    const before = Date.now()
    await produce('append', records(3), { codec: 'gzip' })
    for (const m of await consume('append', 0, 0, 3)) check(Math.abs(Number(m.timestamp) - before) < 60_000, `the time is ${m.timestamp}`)
  })
  await run('offsets', async () => {
    const got = await offsets('none', 0)
    check(got[0] === 0 && got[1] === 20, `the offsets are ${got}`)
  })
  await run('trim', async () => {
    await produce('trim', records(10))
    check((await offsets('trim', 0))[1] === 10, 'the records are not there') // and the admin client knows the leader
    await admin.deleteTopicRecords({ topic: topic('trim'), partitions: [{ partition: 0, offset: '7' }] })
    const got = await offsets('trim', 0)
    check(got[0] === 7 && got[1] === 10, `the offsets are ${got}`)
    same(await consume('trim', 0, 7, 3), records(10).slice(7), 7)
  })
}

async function keys() {
  await produce('keys', records(TOTAL).map((r, i) => ({ ...r, partition: undefined, key: Buffer.from(`key-${i % 12}`), value: Buffer.from(String(i)) })))
  const place = new Map()
  const last = new Map()
  let total = 0
  for (let p = 0; p < PARTITIONS; p++) {
    for (const m of await consume('keys', p, 0, (await offsets('keys', p))[1])) {
      const k = m.key.toString()
      const n = Number(m.value.toString())
      check((place.get(k) ?? p) === p, `key ${k} is in two partitions`)
      check((last.get(k) ?? -1) < n, `key ${k} is out of order`)
      place.set(k, p)
      last.set(k, n)
      total++
    }
  }
  check(total === TOTAL, `${total} records`)
}

async function join(groupId, on, from = topic('keys')) {
  const c = kafka.consumer({ groupId, maxWaitTimeInMs: 100, heartbeatInterval: 200, rebalanceTimeout: 10_000 })
  const m = { c, assigned: 0 }
  c.on(c.events.GROUP_JOIN, e => { m.assigned = (e.payload.memberAssignment[topic('keys')] || []).length })
  c.on(c.events.REBALANCING, () => { m.assigned = 0 })
  await c.connect()
  await c.subscribe({ topic: from, fromBeginning: true })
  await c.run({ autoCommit: false, eachMessage: on })
  return m
}

async function groups() {
  const group = topic('group')
  const places = new Map()
  const first = []
  let m
  await run('group', async () => {
    m = await join(group, async x => { first.push({ partition: x.partition, offset: Number(x.message.offset) }) })
    await until('all records', () => first.length >= TOTAL)
  })
  await run('commit', async () => {
    for (const r of first.slice(0, HALF)) places.set(r.partition, Math.max(places.get(r.partition) || 0, r.offset + 1))
    await m.c.commitOffsets([...places].map(([partition, offset]) => ({ topic: topic('keys'), partition, offset: String(offset) })))
    await m.c.disconnect()
    const got = (await admin.fetchOffsets({ groupId: group, topics: [topic('keys')] }))[0].partitions
    for (const [p, o] of places) {
      const there = got.find(x => x.partition === p)
      check(there && there.offset === String(o), `partition ${p} is committed at ${there && there.offset}, not ${o}`)
    }
  })
  await run('resume', async () => {
    const left = TOTAL - [...places.values()].reduce((a, b) => a + b, 0)
    const next = new Map(places)
    let n = 0
    let wrong
    const again = await join(group, async x => {
      const want = next.get(x.partition) || 0
      if (Number(x.message.offset) !== want) wrong = `partition ${x.partition} goes on at ${x.message.offset}, not ${want}`
      next.set(x.partition, want + 1)
      n++
    })
    await until(`the ${left} records left`, () => n >= left || wrong)
    await again.c.disconnect()
    check(!wrong, wrong)
    check(n === left, `${n} records, not ${left}`)
  })
  await run('share', async () => {
    const seen = new Set()
    const see = async x => { seen.add(`${x.partition}/${x.message.offset}`) }
    const a = await join(topic('share'), see)
    await until('one member has all', () => a.assigned === PARTITIONS)
    const b = await join(topic('share'), see)
    await until('two members share', () => a.assigned > 0 && b.assigned > 0 && a.assigned + b.assigned === PARTITIONS)
    await b.c.disconnect()
    await until('the member left has all again', () => a.assigned === PARTITIONS && seen.size === TOTAL)
    await a.c.disconnect()
  })
  await run('groups', async () => {
    const listed = async () => (await admin.listGroups()).groups.some(g => g.groupId === group)
    check(await listed(), 'the group is not listed')
    check((await admin.describeGroups([group])).groups[0].state === 'Empty', 'the group is not empty')
    await admin.deleteGroups([group])
    check(!(await listed()), 'the group is still listed')
  })
}

// kafkajs resolves a pattern once, when the member subscribes.
async function pattern() {
  await run('regex', async () => {
    for (const t of ['re-a', 're-b', 'other-re']) {
      await create(topic(t), 1, 1, {})
      await produce(t, [0, 1, 2, 3, 4].map(i => ({ key: t, value: `${t} ${i}`, partition: 0 })))
    }
    const seen = new Set()
    const m = await join(topic('re'), async x => { seen.add(x.message.value.toString()) }, new RegExp(`^${topic('re')}-.*`))
    await until('the records of two topics', () => seen.size === 10)
    await m.c.disconnect()
  })
}

async function errors() {
  await run('grow', async () => {
    await admin.createPartitions({ topicPartitions: [{ topic: topic('keys'), count: 5 }] })
    await until('five partitions', async () => (await partitions('keys')) === 5)
  })
  await run('e-topic', () => wants('UNKNOWN_TOPIC_OR_PARTITION', () => partitions('absent')))
  await run('e-name', () => wants('INVALID_TOPIC_EXCEPTION', () => create(`${prefix}/bad`, 1, 1, {})))
  await run('e-repl', () => wants('INVALID_REPLICATION_FACTOR', () => create(topic('three'), 1, 3, {})))
  await run('e-dup', async () => check((await create(topic('keys'), 1, 1, {})) === false, 'the topic is made a second time'))
  await run('delete', async () => {
    await admin.deleteTopics({ topics: [...Object.keys(CODECS), 'keys'].map(topic) })
    await until('the topic is gone', async () => !(await admin.listTopics()).includes(topic('keys')))
  })
}

async function main() {
  await zstd.init()
  await admin.connect()
  await topics()
  await produceAndConsume()
  await groups()
  await pattern()
  await errors()
  await admin.disconnect()
  process.exit(failed ? 1 : 0)
}

main().catch(e => {
  console.log(`fail connect: ${e.message}`)
  process.exit(1)
})
