// Package exactlyonce runs a pipeline that consumes, transforms and produces in transactions, while its members abort, are
// replaced and fence each other, and the broker is killed; in the end every record that went in came out once, for
// readers of committed records. Its tests start weir; with -address they use the broker there, and kill none.
package exactlyonce
