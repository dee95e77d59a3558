package kmsg

type FetchResponse struct{ Leader FetchResponseLeader }

type FetchResponseLeader struct{ ID int32 }

func (v *FetchResponseLeader) Default() { v.ID = -1 }

type FetchRequest struct{ ID int32 }

func NewFetchResponseLeader() FetchResponseLeader { return FetchResponseLeader{ID: -1} }

func NewPtrFetchResponse() *FetchResponse { return &FetchResponse{Leader: NewFetchResponseLeader()} }
