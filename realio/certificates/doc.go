// Package certificates gives sockets the certificate of this node and the authorities that it trusts, in PEM, from files or as text, as
// Kafka's keys ssl.keystore.* and ssl.truststore.* name them.
//
// Connections are those between the nodes of a cluster: TLS 1.3, and each end proves by its certificate that an authority which the other
// trusts has signed it. So the truststore must have nothing but the cluster's own authority: whoever has a certificate of that is
// a node.
//
// Files that change are taken over by the next handshake that comes a second later, without a restart; connections that are open stay. Files that cannot be read, or do not
// fit each other, leave what was there before in force, with a line for operators. The package may import core/env.
package certificates
