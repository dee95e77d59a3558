package node

import (
	"time"

	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/peer"
	"weir/core/task"
)

// loadReports tell the active controller what clients move through this broker's partitions, for it to spread the leaders. A report
// that is lost is missed by nobody: the next one has its time.
type loadReports struct {
	timer task.Timer
	from  env.Time // where the time of the next report begins
}

// reportLoads begins to report.
func (n *Node) reportLoads() {
	every := controller.LoadReportInterval(n.config.Cluster.BalanceInterval)
	if n.peers == nil || every <= 0 || !n.release.serves(methodLoad) {
		return
	}
	n.loads.from = n.loop.Now()
	n.loop.Reset(&n.loads.timer, every, n.reportLoad)
}

func (n *Node) reportLoad() {
	if n.failed || n.shutting {
		return
	}
	now := n.loop.Now()
	window := now.Sub(n.loads.from).Truncate(time.Millisecond)
	n.loop.Reset(&n.loads.timer, controller.LoadReportInterval(n.config.Cluster.BalanceInterval), n.reportLoad)
	if window <= 0 {
		return
	}
	n.loads.from = now
	total, busiest := n.partitions.TakeLoad(controller.BusiestMax)
	r := controller.LoadReport{Epoch: n.epoch, Window: window, Leads: len(n.partitions.Partitions()), In: total.In, Out: total.Out}
	for _, p := range busiest {
		r.Busiest = append(r.Busiest, controller.PartitionLoad{Stream: p.Stream, In: p.In, Out: p.Out})
	}
	n.peers.askLeader(methodLoad, r.AppendTo(nil), callTimeout, func([]byte, error) {})
}

// loadOf takes another broker's load report, or this one's.
func (n *Node) loadOf(from int32, body []byte, reply func([]byte, *peer.Refusal)) {
	r, err := controller.DecodeLoadReport(body)
	if err != nil {
		reply(nil, &peer.Refusal{Code: refusedBusy, Text: err.Error()})
		return
	}
	n.balancer.Report(metadata.BrokerID(from), r)
	reply(nil, nil)
}
