// kafkajs behind the calls that scenarios.js makes.
import kafkajs from 'kafkajs'

export const title = 'kafkajs'
export const codecs = ['none', 'gzip'] // it brings no others
export const restartPartitions = 2
export const protocols = ['classic']
export const transactionProtocols = ['classic']

const compressions = { none: kafkajs.CompressionTypes.None, gzip: kafkajs.CompressionTypes.GZIP }

export function connect(bootstrap) {
  const kafka = new kafkajs.Kafka({
    clientId: 'scenarios',
    brokers: [bootstrap],
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { retries: 100, initialRetryTime: 100, maxRetryTime: 500, factor: 0, multiplier: 1.5 },
  })
  return { admin: connectAdmin(kafka), producer: (transactionalId) => connectProducer(kafka, transactionalId), join: (options) => join(kafka, options) }
}

async function connectProducer(kafka, transactionalId) {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, transactionalId, createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
  await producer.connect()
  const sender = (to) => (topic, messages, codec = 'none') =>
    to.send({ topic, compression: compressions[codec], messages: messages.map((m) => ({ value: null, ...m, timestamp: m.timestamp === undefined ? undefined : `${m.timestamp}` })) })
  return {
    send: sender(producer),
    begin: async () => {
      const transaction = await producer.transaction()
      return {
        send: sender(transaction),
        offsets: (member, records) =>
          transaction.sendOffsets({
            consumerGroupId: member.group,
            topics: records.map(({ topic, partition, offset }) => ({ topic, partitions: [{ partition, offset: `${offset + 1}` }] })),
          }),
        commit: () => transaction.commit(),
        abort: () => transaction.abort(),
      }
    },
    close: () => producer.disconnect(),
  }
}

async function join(kafka, { group, topic, latest = false, each = async () => {}, assigned = () => {} }) {
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 10000, maxWaitTimeInMs: 200 })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => assigned(payload.memberAssignment[topic] ?? []))
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: !latest })
  await consumer.run({
    autoCommit: false,
    eachMessage: ({ topic, partition, message }) =>
      each({
        topic,
        partition,
        offset: Number(message.offset),
        timestamp: Number(message.timestamp),
        key: message.key?.toString(),
        value: message.value?.toString(),
        headers: Object.fromEntries(Object.entries(message.headers ?? {}).map(([k, v]) => [k, v?.toString()])),
        commit: () => consumer.commitOffsets([{ topic, partition, offset: `${BigInt(message.offset) + 1n}` }]),
      }),
  })
  return { group, leave: () => consumer.disconnect() }
}

async function connectAdmin(kafka) {
  const admin = kafka.admin()
  await admin.connect()
  const resource = (name) => ({ type: kafkajs.ConfigResourceTypes.TOPIC, name })
  return {
    createTopic: (topic, numPartitions) => admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: true }),
    topics: () => admin.listTopics(),
    partitions: async (topic) => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length,
    addPartitions: (topic, count) => admin.createPartitions({ topicPartitions: [{ topic, count }] }),
    setConfig: (topic, name, value) => admin.alterConfigs({ resources: [{ ...resource(topic), configEntries: [{ name, value }] }] }),
    config: async (topic, name) => {
      const described = await admin.describeConfigs({ resources: [{ ...resource(topic), configNames: [name] }], includeSynonyms: false })
      return described.resources[0].configEntries[0].configValue
    },
    deleteRecords: async (topic, partition, offset) => {
      await admin.fetchTopicOffsets(topic) // deleting looks for the leader in what is known of the topic already
      await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: `${offset}` }] })
    },
    firstOffset: async (topic, partition) => Number((await admin.fetchTopicOffsets(topic)).find((p) => p.partition === partition).low),
    deleteTopic: (topic) => admin.deleteTopics({ topics: [topic] }),
    groups: async () => (await admin.listGroups()).groups.map((g) => g.groupId),
    describeGroup: async (group) => {
      const [{ state, members }] = (await admin.describeGroups([group])).groups
      return { state, members: members.length }
    },
    committed: async (group, topic, partition) => {
      const [offsets] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
      return Number(offsets.partitions.find((p) => p.partition === partition).offset)
    },
    setOffset: (group, topic, partition, offset) => admin.setOffsets({ groupId: group, topic, partitions: [{ partition, offset: `${offset}` }] }),
    deleteGroup: (group) => admin.deleteGroups([group]),
    close: () => admin.disconnect(),
  }
}
