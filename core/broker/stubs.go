package broker

import "github.com/twmb/franz-go/pkg/kmsg"

func (b *Broker) metadata(x exchange, r *kmsg.MetadataRequest)                 { panic("stub") }
func (b *Broker) apiVersions(x exchange, r *kmsg.ApiVersionsRequest)           { panic("stub") }
func (b *Broker) createTopics(x exchange, r *kmsg.CreateTopicsRequest)         { panic("stub") }
func (b *Broker) deleteTopics(x exchange, r *kmsg.DeleteTopicsRequest)         { panic("stub") }
func (b *Broker) describeConfigs(x exchange, r *kmsg.DescribeConfigsRequest)   { panic("stub") }
func (b *Broker) alterConfigs(x exchange, r *kmsg.AlterConfigsRequest)         { panic("stub") }
func (b *Broker) describeLogDirs(x exchange, r *kmsg.DescribeLogDirsRequest)   { panic("stub") }
func (b *Broker) createPartitions(x exchange, r *kmsg.CreatePartitionsRequest) { panic("stub") }
func (b *Broker) incrementalAlterConfigs(x exchange, r *kmsg.IncrementalAlterConfigsRequest) {
	panic("stub")
}
func (b *Broker) describeCluster(x exchange, r *kmsg.DescribeClusterRequest) { panic("stub") }
func (b *Broker) describeTopicPartitions(x exchange, r *kmsg.DescribeTopicPartitionsRequest) {
	panic("stub")
}
