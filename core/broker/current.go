package broker

import "time"

// catchUpTimeout bounds the wait of an administrative request for the newest image.
const catchUpTimeout = 10 * time.Second

// whenCurrent runs handle once the image holds everything that was committed when the request came. Kafka forwards such requests to
// the active controller, whose answers follow from its newest state; here any broker answers, and one whose image lags
// would say of a topic that another has made that it does not exist. If the image cannot be known to be the newest within timeout (0 or
// less: catchUpTimeout), refuse runs instead, with the code and message for each part of the response.
func (b *Broker) whenCurrent(x exchange, timeoutMillis int32, handle func(), refuse func(code int16, message *string)) {
	x.releaseFrame()
	gone := false
	x.onGone(func() { gone = true })
	timeout := catchUpTimeout
	if timeoutMillis > 0 {
		timeout = min(timeout, millisOf(timeoutMillis))
	}
	b.cluster.CatchUp(timeout, func(err error) {
		switch {
		case gone:
		case err != nil:
			refuse(refusal(err))
		default:
			handle()
		}
	})
}
