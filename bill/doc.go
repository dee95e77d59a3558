// Package bill counts what an object store is paid for, and prices it.
//
// A driver of a store counts each request and the bytes of its body in a [Tally]: a [Meter], which keeps them as
// metrics of a running broker, or an [Account], which holds the numbers themselves. [Read] makes an Account of a
// scrape of those metrics. A [PriceList], which is a file with a date and its sources, turns an Account into money:
// [PriceList.Bill] is a table by purpose (see env.Purpose), with dollars for each GiB that producers wrote and for a
// month at the same rate.
//
// It is about what stores charge for, not about what they guarantee. Prices are list prices without discounts. Money
// is floating point here, and nowhere in the core.
//
// It may call core/env only.
package bill
