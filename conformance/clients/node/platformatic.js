// @platformatic/kafka behind the calls that scenarios.js makes.
import * as kafka from '@platformatic/kafka'

export const title = 'platformatic'
export const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
// A fetch of several partitions that got different leaders is sent to the old one again and again, and fails for good once that is gone.
export const restartPartitions = 1
export const protocols = ['classic', 'consumer']
export const transactionProtocols = ['classic'] // in the other one it commits offsets with generation 0

export function connect(bootstrap) {
  const base = { clientId: 'scenarios', bootstrapBrokers: [bootstrap], retries: true, retryDelay: 200, connectTimeout: 2000 }
  return { admin: connectAdmin(base), producer: (transactionalId) => connectProducer(base, transactionalId), join: (options) => join(base, options) }
}

async function connectProducer(base, transactionalId) {
  const producer = new kafka.Producer({ ...base, idempotent: true, acks: -1, maxInflights: 1, transactionalId, serializers: kafka.stringSerializers })
  const sender =
    (to) =>
    (topic, messages, compression = 'none') =>
      to.send({ compression, messages: messages.map((m) => ({ topic, ...m, value: m.value ?? undefined, timestamp: m.timestamp === undefined ? undefined : BigInt(m.timestamp) })) })
  return {
    send: sender(producer),
    begin: async () => {
      const transaction = await producer.beginTransaction({ producerId: -1n, producerEpoch: -1 }) // left out, they are 0, and Kafka fences them
      return {
        send: sender(transaction),
        offsets: async (member, records) => {
          await transaction.addConsumer(member.consumer)
          for (const { message } of records) await transaction.addOffset(message)
        },
        commit: () => transaction.commit(),
        abort: () => transaction.abort(),
      }
    },
    close: () => producer.close(),
  }
}

async function join(base, { group, topic, protocol = 'classic', latest = false, each = async () => {}, assigned = () => {} }) {
  const timeouts = protocol === 'classic' ? { sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 10000 } : {}
  const consumer = new kafka.Consumer({
    ...base,
    ...timeouts,
    groupId: group,
    groupProtocol: protocol,
    autocommit: false,
    maxWaitTime: 200,
    deserializers: kafka.stringDeserializers,
  })
  let last = ''
  const look = () => {
    const partitions = (consumer.assignments ?? []).filter((a) => a.topic === topic).flatMap((a) => a.partitions)
    if (`${partitions}` !== last) assigned(partitions)
    last = `${partitions}`
  }
  for (const event of ['consumer:group:join', 'consumer:group:rebalance', 'consumer:heartbeat:end']) consumer.on(event, look)
  const stream = await consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: latest ? 'latest' : 'earliest' })
  look()
  const reading = (async () => {
    for await (const message of stream) {
      await each({
        topic,
        partition: message.partition,
        offset: Number(message.offset),
        timestamp: Number(message.timestamp),
        key: message.key,
        value: message.value,
        headers: Object.fromEntries(message.headers),
        message,
        commit: () => message.commit(),
      })
    }
  })()
  reading.catch((e) => assigned(e))
  return { group, consumer, leave: () => consumer.close(true) }
}

async function connectAdmin(base) {
  const admin = new kafka.Admin(base)
  const resource = (resourceName) => ({ resourceType: kafka.ConfigResourceTypes.TOPIC, resourceName })
  return {
    createTopic: (topic, partitions) => admin.createTopics({ topics: [topic], partitions, replicas: 1 }),
    topics: () => admin.listTopics(),
    partitions: async (topic) => (await admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic).partitionsCount,
    addPartitions: (name, count) => admin.createPartitions({ topics: [{ name, count }] }),
    setConfig: (topic, name, value) =>
      admin.incrementalAlterConfigs({ resources: [{ ...resource(topic), configs: [{ name, value, configOperation: kafka.IncrementalAlterConfigOperationTypes.SET }] }] }),
    config: async (topic, name) => (await admin.describeConfigs({ resources: [{ ...resource(topic), configurationKeys: [name] }] }))[0].configs[0].value,
    deleteRecords: (name, partition, offset) => admin.deleteRecords({ topics: [{ name, partitions: [{ partition, offset: BigInt(offset) }] }] }),
    firstOffset: async (name, partitionIndex) =>
      Number((await admin.listOffsets({ topics: [{ name, partitions: [{ partitionIndex, timestamp: -2n }] }] }))[0].partitions[0].offset),
    deleteTopic: (topic) => admin.deleteTopics({ topics: [topic] }),
    groups: async () => [...(await admin.listGroups()).keys()],
    describeGroup: async (group) => {
      const { state, members } = (await admin.describeGroups({ groups: [group] })).get(group)
      return { state: state[0] + state.slice(1).toLowerCase(), members: members.size }
    },
    committed: async (group, name, partition) => {
      const [offsets] = await admin.listConsumerGroupOffsets({ groups: [{ groupId: group, topics: [{ name, partitionIndexes: [partition] }] }] })
      return Number(offsets.topics[0].partitions[0].committedOffset)
    },
    setOffset: (groupId, name, partition, offset) =>
      admin.alterConsumerGroupOffsets({ groupId, topics: [{ name, partitionOffsets: [{ partition, offset: BigInt(offset) }] }] }),
    deleteGroup: (group) => admin.deleteGroups({ groups: [group] }),
    close: () => admin.close(),
  }
}
