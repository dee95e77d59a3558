// Scenarios of kafkajs against one endpoint: scenarios.js HOST:PORT [FILTER]. Each prints one line, `ok NAME` or
// `FAIL NAME: cause`; the exit code is 1 if one failed.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import kafkajs from 'kafkajs'

const [bootstrap, filter = ''] = process.argv.slice(2)
const limit = 60_000
const kafka = new kafkajs.Kafka({ clientId: 'scenarios', brokers: [bootstrap], logLevel: kafkajs.logLevel.NOTHING })
const admin = kafka.admin()
const name = () => `node-${randomUUID()}`
const values = (from, to) => Array.from({ length: to - from }, (_, i) => `v${from + i}`)

async function topic(numPartitions) {
  const created = name()
  await admin.createTopics({ topics: [{ topic: created, numPartitions }], waitForLeaders: true })
  return created
}

async function fill(to, all, compression = kafkajs.CompressionTypes.None) {
  const producer = kafka.producer({ idempotent: true, createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
  await producer.connect()
  await producer.send({ topic: to, compression, messages: all.map((value) => ({ key: value, value, headers: { h: 'x' } })) })
  await producer.disconnect()
}

/** Reads as a member of the group until it has this many records, commits, and leaves. */
async function read(group, of, count, config = {}) {
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 10000, ...config })
  const got = []
  await consumer.connect()
  await consumer.subscribe({ topic: of, fromBeginning: true })
  await within(limit, `${count} records, got ${got.length}`, (done, fail) => {
    consumer
      .run({
        autoCommit: false,
        eachMessage: async ({ topic, partition, message }) => {
          if (got.length >= count) return
          got.push(message.value.toString())
          await consumer.commitOffsets([{ topic, partition, offset: `${BigInt(message.offset) + 1n}` }])
          if (got.length >= count) done()
        },
      })
      .catch(fail)
  })
  await consumer.disconnect()
  return got
}

function within(milliseconds, what, start) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`did not come: ${what}`)), milliseconds)
    const end = (settle) => (value) => {
      clearTimeout(timer)
      settle(value)
    }
    start(end(resolve), end(reject))
  })
}

const scenarios = {
  async 'kafkajs-carry-gzip'() {
    const of = await topic(2)
    await fill(of, values(0, 1000), kafkajs.CompressionTypes.GZIP)
    assert.deepEqual((await read(name(), of, 1000)).sort(), values(0, 1000).sort())
  },
  async 'kafkajs-group-commit-resume'() {
    const [of, group] = [await topic(2), name()]
    await fill(of, values(0, 100))
    const got = [...(await read(group, of, 50)), ...(await read(group, of, 50))]
    assert.deepEqual(got.sort(), values(0, 100).sort())
  },
  async 'kafkajs-group-shares'() {
    const [of, group] = [await topic(4), name()]
    const members = [kafka.consumer({ groupId: group, sessionTimeout: 6000 }), kafka.consumer({ groupId: group, sessionTimeout: 6000 })]
    const owned = new Map()
    await within(limit, 'two partitions each', (done, fail) => {
      members.forEach((member, i) => {
        member.on(member.events.GROUP_JOIN, ({ payload }) => {
          owned.set(i, payload.memberAssignment[of] ?? [])
          if ([0, 1].every((j) => owned.get(j)?.length === 2)) done()
        })
        member
          .connect()
          .then(() => member.subscribe({ topic: of }))
          .then(() => member.run({ eachMessage: async () => {} }))
          .catch(fail)
      })
    })
    assert.deepEqual([...owned.get(0), ...owned.get(1)].sort(), [0, 1, 2, 3])
    const [description] = (await admin.describeGroups([group])).groups
    assert.equal(description.state, 'Stable')
    assert.equal(description.members.length, 2)
    for (const member of members) await member.disconnect()
  },
  async 'kafkajs-transactions'() {
    const [of, group] = [await topic(1), name()]
    const producer = kafka.producer({ transactionalId: name(), maxInFlightRequests: 1, idempotent: true })
    await producer.connect()
    for (const value of ['committed', 'aborted', 'again']) {
      const transaction = await producer.transaction()
      await transaction.send({ topic: of, messages: [{ value }] })
      await transaction.sendOffsets({ consumerGroupId: group, topics: [{ topic: of, partitions: [{ partition: 0, offset: value === 'aborted' ? '99' : '1' }] }] })
      await (value === 'aborted' ? transaction.abort() : transaction.commit())
    }
    await producer.disconnect()
    assert.deepEqual(await read(name(), of, 2), ['committed', 'again'])
    const [offsets] = await admin.fetchOffsets({ groupId: group, topics: [of] })
    assert.equal(offsets.partitions[0].offset, '1')
  },
  async 'kafkajs-admin'() {
    const [of, group] = [await topic(1), name()]
    await fill(of, values(0, 10))
    await admin.createPartitions({ topicPartitions: [{ topic: of, count: 2 }] })
    await admin.setOffsets({ groupId: group, topic: of, partitions: [{ partition: 0, offset: '4' }] })
    assert.equal((await admin.fetchOffsets({ groupId: group, topics: [of] }))[0].partitions.find((p) => p.partition === 0).offset, '4')
    assert.ok((await admin.listGroups()).groups.some((g) => g.groupId === group))
    await admin.deleteGroups([group])
    await admin.deleteTopicRecords({ topic: of, partitions: [{ partition: 0, offset: '5' }] })
    assert.equal((await admin.fetchTopicOffsets(of)).find((p) => p.partition === 0).low, '5')
    await admin.deleteTopics({ topics: [of] })
    assert.ok(!(await admin.listTopics()).includes(of))
  },
}

let failed = 0
await admin.connect()
for (const [title, run] of Object.entries(scenarios)) {
  if (!new RegExp(filter).test(title)) continue
  const start = Date.now()
  try {
    await run()
    console.log(`ok ${title} (${Date.now() - start} ms)`)
  } catch (e) {
    failed++
    console.log(`FAIL ${title}: ${e.stack}`)
  }
}
await admin.disconnect()
process.exit(failed ? 1 : 0)
