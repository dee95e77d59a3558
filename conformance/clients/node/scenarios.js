// Scenarios of kafkajs and @platformatic/kafka against one endpoint: scenarios.js HOST:PORT [FILTER]. Each prints one line,
// `ok NAME` or `FAIL NAME: cause`; the exit code is 1 if one failed. A POST to BROKER_CONTROL/kill or /restart ends the broker
// and answers once it is there again; without that address the scenarios that need it are left out.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { inspect } from 'node:util'
import * as kafkajs from './kafkajs.js'
import * as platformatic from './platformatic.js'

const clients = [kafkajs, platformatic]
const limit = 60_000
const name = () => `node-${randomUUID()}`
const values = (from, to) => Array.from({ length: to - from }, (_, i) => `v${from + i}`)

/** Something that is waited for: set is called with each new value, until returns the first for which match holds. */
class Watched {
  #seen = []
  #waiting = []

  set = (value) => {
    this.#seen.push(value)
    this.#waiting.splice(0).forEach((wake) => wake())
  }

  async until(what, match) {
    const end = Date.now() + limit
    for (let i = 0; ; i++) {
      while (i >= this.#seen.length) {
        const left = end - Date.now()
        assert.ok(left > 0, `did not come: ${what}; last came ${JSON.stringify(this.#seen.at(-1))}`)
        const { promise, resolve } = Promise.withResolvers()
        this.#waiting.push(resolve)
        const timer = setTimeout(resolve, left)
        await promise
        clearTimeout(timer)
      }
      if (this.#seen[i] instanceof Error) throw this.#seen[i]
      if (match(this.#seen[i])) return this.#seen.splice(0, i + 1)
    }
  }
}

/** Asks until the answer is this: Kafka's brokers learn late what its controller decided. */
async function eventually(want, ask) {
  const end = Date.now() + limit
  for (;;) {
    const got = await ask()
    if (got === want) return
    assert.ok(Date.now() < end, `want ${want}, got ${got}`)
  }
}

async function control(action) {
  const response = await fetch(`${process.env.BROKER_CONTROL}/${action}`, { method: 'POST' })
  assert.equal(response.status, 200, await response.text())
}

/** The scenarios of one client. Each is a row of the table in CLIENTS.md, with a variant behind the slash. */
function scenariosOf(client) {
  const { admin: connecting, producer, join } = client.connected
  const all = {}

  async function topic(partitions) {
    const created = name()
    const admin = await connecting
    await admin.createTopic(created, partitions)
    await eventually(partitions, () => admin.partitions(created))
    return created
  }

  async function fill(to, messages, codec) {
    const p = await producer()
    await p.send(to, messages, codec)
    await p.close()
  }

  /** Reads as a member of a group until done says so of all records, commits, and leaves. */
  async function readUntil(of, done, options = {}) {
    const [came, got] = [new Watched(), []]
    let ended = false
    const member = await join({
      group: name(),
      topic: of,
      ...options,
      assigned: (e) => e instanceof Error && came.set(e),
      each: async (record) => {
        if (ended) return
        got.push(record)
        const last = done(got)
        if (options.group || last) await record.commit() // if it fails, records come again
        ended = last
        came.set(got.length)
      },
    })
    await came.until('records', () => ended)
    await member.leave()
    return got
  }

  const read = (of, count, options) => readUntil(of, (got) => got.length >= count, options)
  const valuesOf = (records) => records.map((r) => r.value)

  async function ownedMember(group, of, protocol) {
    const owned = new Watched()
    const member = await join({ group, topic: of, protocol, assigned: owned.set })
    return { ...member, owns: (count) => owned.until(`${count} partitions`, (partitions) => partitions.length === count) }
  }

  for (const codec of client.codecs) {
    all[`codec/${codec}`] = async () => {
      const of = await topic(1)
      await fill(of, values(0, 1000).map((value) => ({ value })), codec)
      assert.deepEqual(valuesOf(await read(of, 1000)), values(0, 1000))
    }
  }
  all['record-fields'] = async () => {
    const of = await topic(1)
    await fill(of, [{ key: 'k', value: 'v', headers: { a: '1', b: '' }, timestamp: 1234567890123 }])
    await fill(of, [{ key: 'tombstone', timestamp: 0 }]) // in one batch @platformatic/kafka takes it for less
    await fill(of, [{ value: '', timestamp: 5 }])
    const [full, tombstone, empty] = await read(of, 3)
    assert.deepEqual([full.key, full.value, full.headers, full.timestamp], ['k', 'v', { a: '1', b: '' }, 1234567890123])
    assert.deepEqual([tombstone.key, tombstone.value ?? null, tombstone.timestamp], ['tombstone', null, 0])
    assert.deepEqual([empty.key ?? null, empty.value, empty.timestamp], [null, '', 5])
  }
  for (const protocol of client.protocols) {
    all[`group-join-leave/${protocol}`] = async () => {
      const [of, group] = [await topic(4), name()]
      const a = await ownedMember(group, of, protocol)
      await a.owns(4)
      const b = await ownedMember(group, of, protocol)
      await Promise.all([a.owns(2), b.owns(2)])
      await b.leave()
      await a.owns(4)
      await a.leave()
    }
    all[`group-member-dies/${protocol}`] = async () => {
      const [of, group] = [await topic(4), name()]
      const a = await ownedMember(group, of, protocol)
      await a.owns(4)
      const b = spawn(process.execPath, [process.argv[1], bootstrap, '--member', client.title, group, of, protocol], { stdio: 'ignore' })
      await a.owns(2)
      b.kill('SIGKILL')
      await once(b, 'exit')
      await a.owns(4)
      await a.leave()
    }
    all[`commit-resume/${protocol}`] = async () => {
      const [of, group] = [await topic(2), name()]
      await fill(of, values(0, 100).map((value) => ({ key: value, value })))
      const got = [...(await read(of, 50, { group, protocol })), ...(await read(of, 50, { group, protocol }))]
      assert.deepEqual(valuesOf(got).sort(), values(0, 100).sort())
    }
    all[`broker-restart/${protocol}`] = async () => {
      const of = await topic(client.restartPartitions)
      const p = await producer()
      await p.send(of, values(0, 100).map((value) => ({ key: value, value })))
      let restarted
      const got = await readUntil(
        of,
        (got) => {
          if (got.length === 100) restarted = control('restart').then(() => p.send(of, values(100, 200).map((value) => ({ key: value, value }))))
          return new Set(valuesOf(got)).size === 200
        },
        { protocol },
      )
      await restarted
      await p.close()
      assert.deepEqual([...new Set(valuesOf(got))].sort(), values(0, 200).sort())
    }
  }
  for (const protocol of client.transactionProtocols) {
    all[`transaction-offsets/${protocol}`] = async () => {
      const [source, to, group] = [await topic(1), await topic(1), name()]
      const p = await producer(name())
      await fill(source, values(0, 30).map((value) => ({ value })))
      for (const part of [values(0, 10), values(10, 20), values(20, 30)]) {
        const [came, all] = [new Watched(), []]
        const member = await join({ group, topic: source, protocol, each: async (record) => came.set(all.push(record)) })
        await came.until('ten records', (count) => count >= 10)
        const got = all.slice(0, 10)
        assert.deepEqual(valuesOf(got), part)
        for (const end of part[0] === 'v0' ? ['abort', 'commit'] : ['commit']) {
          const transaction = await p.begin()
          await transaction.send(to, got.map(({ value }) => ({ value })))
          await transaction.offsets(member, got.slice(-1))
          await transaction[end]()
        }
        await member.leave()
      }
      await p.close()
      assert.deepEqual(valuesOf(await read(to, 30)), values(0, 30))
      assert.equal(await (await connecting).committed(group, source, 0), 30)
    }
  }
  all['offsets-reset'] = async () => {
    const [of, group, admin] = [await topic(1), name(), await connecting]
    await fill(of, values(0, 10).map((value) => ({ value })))
    await admin.setOffset(group, of, 0, 4)
    assert.equal(await admin.committed(group, of, 0), 4)
    assert.deepEqual(valuesOf(await read(of, 6, { group })), values(4, 10))
    const [came, sending] = [new Watched(), await producer()]
    const member = await join({ group: name(), topic: of, latest: true, each: async (record) => came.set(record.value) })
    let seen = false
    const first = came.until('a new record', () => true).finally(() => (seen = true))
    while (!seen) await sending.send(of, [{ value: 'new' }])
    assert.deepEqual(await first, ['new'])
    await member.leave()
    await sending.close()
  }
  all['idempotence-broker-kill'] = async () => {
    const of = await topic(1)
    const p = await producer()
    const kills = []
    for (let i = 0; i < 400; i += 10) {
      if (i % 150 === 100) kills.push(control('kill'))
      await p.send(of, values(i, i + 10).map((value) => ({ value })))
    }
    await Promise.all(kills)
    await p.close()
    assert.equal(kills.length, 2)
    assert.deepEqual(valuesOf(await read(of, 400)), values(0, 400))
  }
  all['transaction-commit-abort'] = async () => {
    const of = await topic(1)
    const p = await producer(name())
    for (const value of ['committed', 'aborted', 'again']) { // @platformatic/kafka skips one aborted transaction in each fetch
      const transaction = await p.begin()
      await transaction.send(of, [{ value }])
      await (value === 'aborted' ? transaction.abort() : transaction.commit())
    }
    await p.close()
    assert.deepEqual(valuesOf(await read(of, 2)), ['committed', 'again'])
  }
  all['transaction-fence'] = async () => {
    const [of, id] = [await topic(1), name()]
    const zombie = await producer(id)
    const old = await zombie.begin()
    await old.send(of, [{ value: 'zombie' }])
    const p = await producer(id)
    const transaction = await p.begin()
    await transaction.send(of, [{ value: 'alive' }])
    await transaction.commit()
    await assert.rejects(async () => {
      await old.send(of, [{ value: 'zombie again' }])
      await old.commit()
    })
    await p.close()
    assert.deepEqual(valuesOf(await read(of, 1)), ['alive'])
  }
  all['transaction-broker-kill'] = async () => {
    const of = await topic(1)
    const p = await producer(name())
    const transaction = await p.begin()
    await transaction.send(of, [{ value: 'before' }])
    await control('kill')
    await transaction.send(of, [{ value: 'after' }])
    await transaction.commit()
    await p.close()
    assert.deepEqual(valuesOf(await read(of, 2)), ['before', 'after'])
  }
  all['admin-topics'] = async () => {
    const [of, admin] = [await topic(1), await connecting]
    await fill(of, values(0, 10).map((value) => ({ value })))
    await admin.addPartitions(of, 3)
    await eventually(3, () => admin.partitions(of))
    await admin.setConfig(of, 'retention.ms', '3600000')
    await eventually('3600000', () => admin.config(of, 'retention.ms'))
    await admin.deleteRecords(of, 0, 5)
    assert.equal(await admin.firstOffset(of, 0), 5)
    await admin.deleteTopic(of)
    await eventually(false, async () => (await admin.topics()).includes(of))
  }
  all['admin-groups'] = async () => {
    const [of, group, admin] = [await topic(2), name(), await connecting]
    await fill(of, [{ value: 'v', partition: 0 }])
    const member = await ownedMember(group, of, 'classic')
    await member.owns(2)
    assert.deepEqual(await admin.describeGroup(group), { state: 'Stable', members: 1 })
    await assert.rejects(admin.deleteGroup(group))
    await member.leave()
    await admin.setOffset(group, of, 0, 1)
    assert.deepEqual(await admin.describeGroup(group), { state: 'Empty', members: 0 })
    assert.ok((await admin.groups()).includes(group))
    await admin.deleteGroup(group)
    assert.ok(!(await admin.groups()).includes(group))
  }
  return all
}

const [bootstrap, filter = ''] = process.argv.slice(2)
if (filter === '--member') {
  const [title, group, topic, protocol] = process.argv.slice(4)
  await clients.find((c) => c.title === title).connect(bootstrap).join({ group, topic, protocol })
} else {
  process.exit((await runAll()) ? 1 : 0)
}

/** Returns how many failed. */
async function runAll() {
  let failed = 0
  for (const client of clients) {
    const connected = client.connect(bootstrap)
    for (const [row, run] of Object.entries(scenariosOf({ ...client, connected }))) {
      const title = `${client.title}/${row}`
      if (!new RegExp(filter).test(title) || (/broker-/.test(row) && !process.env.BROKER_CONTROL)) continue
      const start = Date.now()
      try {
        await run()
        console.log(`ok ${title} (${Date.now() - start} ms)`)
      } catch (e) {
        failed++
        console.log(`FAIL ${title}: ${e.stack} ${inspect(e, { depth: 6 })}`)
      }
    }
    await (await connected.admin).close()
  }
  return failed
}
