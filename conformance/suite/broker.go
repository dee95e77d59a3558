package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/conformance/rawconn"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	warmLimit  = 60 * time.Second
	warmGroups = 600 // enough that every partition of the coordinators' topics has some
)

// Broker is the endpoint under test and what it says of itself.
type Broker struct {
	rawconn.Options
	// Versions are the APIs that it advertises.
	Versions map[int16]Span
	// Features are the finalized levels.
	Features map[string]int16
	// Config are the values of the broker's configuration; a key without a value has none here.
	Config map[string]string
	// IsWeir reports whether it is weir, whose differences are known.
	IsWeir bool
	// NodeID of the broker.
	NodeID int32
	// Brokers is how many the cluster has.
	Brokers int

	coordinators coordinators
}

// Highest is the highest version of an API that both the endpoint and kmsg know.
func (b *Broker) Highest(key int16) int16 {
	return min(b.Versions[key].Max, kmsg.RequestForKey(key).MaxVersion())
}

// ask learns the endpoint's versions and features.
func ask(ctx context.Context, o rawconn.Options) (*Broker, error) {
	b := &Broker{Options: o, Versions: map[int16]Span{}, Features: map[string]int16{}, Config: map[string]string{}, Brokers: 1}
	q, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	hello := kmsg.NewPtrApiVersionsRequest()
	hello.Version, hello.ClientSoftwareName, hello.ClientSoftwareVersion = 3, "weir-conformance", "1"
	versions, err := hello.RequestWith(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("ask for versions: %w", err)
	}
	for _, k := range versions.ApiKeys {
		b.Versions[k.ApiKey] = Span{k.MinVersion, k.MaxVersion}
	}
	for _, f := range versions.FinalizedFeatures {
		b.Features[f.Name] = f.MaxVersionLevel
	}
	for _, f := range versions.SupportedFeatures {
		b.IsWeir = b.IsWeir || strings.HasPrefix(f.Name, "weir.")
	}
	return b, nil
}

// describe asks for the broker's configuration.
func (b *Broker) describe(ctx context.Context) error {
	q, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer q.Close()
	r := kmsg.NewPtrDescribeConfigsRequest()
	r.Version = b.Highest(r.Key())
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBroker, fmt.Sprint(b.NodeID)
	r.Resources = append(r.Resources, resource)
	configs, err := r.RequestWith(ctx, q)
	if err != nil {
		return fmt.Errorf("ask for the broker's configuration: %w", err)
	}
	for _, found := range configs.Resources {
		for _, entry := range found.Configs {
			if entry.Value != nil {
				b.Config[entry.Name] = *entry.Value
			}
		}
	}
	return nil
}

// prober asks without a case around it.
type prober struct{ *rawconn.Conn }

func (b *Broker) connect(ctx context.Context) (prober, error) {
	conn, err := rawconn.Dial(ctx, b.Options)
	return prober{conn}, err
}

// Request implements kmsg.Requestor.
func (p prober) Request(_ context.Context, r kmsg.Request) (kmsg.Response, error) {
	if err := p.Send(r, nil); err != nil {
		return nil, err
	}
	return p.Receive(r)
}

// warm waits until the endpoint gives producer ids and what it has of coordinators is loaded, so that no case meets the errors of a
// broker that has just started.
func (b *Broker) warm(ctx context.Context) error {
	q, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer q.Close()
	for _, w := range []struct {
		key  int16
		what string
		cold func(context.Context, prober) (int16, error)
	}{{22, "producer ids", b.coldProducers}, {9, "group coordinators", b.coldGroups}, {65, "transaction coordinators", b.coldTransactions}} {
		if _, ok := b.Versions[w.key]; !ok {
			continue
		}
		if err := b.until(ctx, q, w.cold); err != nil {
			return fmt.Errorf("wait for %s: %w", w.what, err)
		}
	}
	return nil
}

// coldCodes are the errors of a coordinator that has not begun.
var coldCodes = []int16{
	kerr.CoordinatorLoadInProgress.Code, kerr.CoordinatorNotAvailable.Code, kerr.NotCoordinator.Code, kerr.RequestTimedOut.Code, kerr.ConcurrentTransactions.Code,
}

// elsewhere reports whether a code says that another broker of the cluster is the coordinator.
func (b *Broker) elsewhere(code int16) bool { return b.Brokers > 1 && code == kerr.NotCoordinator.Code }

func (b *Broker) until(ctx context.Context, q prober, cold func(context.Context, prober) (int16, error)) error {
	for deadline := time.Now().Add(warmLimit); ; time.Sleep(pollPause) {
		code, err := cold(ctx, q)
		if err != nil || !slices.Contains(coldCodes, code) {
			return err // another error is for the cases to find
		}
		if time.Now().After(deadline) {
			return kerr.ErrorForCode(code)
		}
	}
}

func (b *Broker) coldProducers(ctx context.Context, q prober) (int16, error) {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.TransactionTimeoutMillis = 1000
	answer, err := r.RequestWith(ctx, q)
	if err != nil {
		return 0, err
	}
	return answer.ErrorCode, nil
}

// find makes the broker create the coordinators' topic, if it has not.
func (b *Broker) find(ctx context.Context, q prober, kind int8) (int16, error) {
	r := kmsg.NewPtrFindCoordinatorRequest()
	r.Version, r.CoordinatorType, r.CoordinatorKey = 3, kind, "warm"
	answer, err := r.RequestWith(ctx, q)
	if err != nil {
		return 0, err
	}
	return answer.ErrorCode, nil
}

func (b *Broker) coldGroups(ctx context.Context, q prober) (int16, error) {
	if code, err := b.find(ctx, q, 0); code != 0 || err != nil {
		return code, err
	}
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Version = 8
	for i := range warmGroups {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = fmt.Sprintf("warm-%d", i)
		r.Groups = append(r.Groups, g)
	}
	answer, err := r.RequestWith(ctx, q)
	if err != nil {
		return 0, err
	}
	for _, g := range answer.Groups {
		if g.ErrorCode != 0 && !b.elsewhere(g.ErrorCode) {
			return g.ErrorCode, nil
		}
	}
	return 0, nil
}

func (b *Broker) coldTransactions(ctx context.Context, q prober) (int16, error) {
	if code, err := b.find(ctx, q, 1); code != 0 || err != nil {
		return code, err
	}
	r := kmsg.NewPtrDescribeTransactionsRequest()
	for i := range warmGroups {
		r.TransactionalIDs = append(r.TransactionalIDs, fmt.Sprintf("warm-%d", i))
	}
	answer, err := r.RequestWith(ctx, q)
	if err != nil {
		return 0, err
	}
	for _, state := range answer.TransactionStates {
		if slices.Contains(coldCodes, state.ErrorCode) && !b.elsewhere(state.ErrorCode) {
			return state.ErrorCode, nil
		}
	}
	return 0, nil
}
