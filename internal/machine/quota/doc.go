// Package quota decides how long somebody who has used more than a limit must wait.
//
// Duty: Kafka's arithmetic of client quotas: rates over sliding samples ([Rate]), token buckets ([Bucket], KIP-599), the
// delay that brings an observed rate back to its bound ([Delay], [Shortage]), and which of the eight levels of limits
// holds for a user and a client id ([Limits], KIP-55, KIP-546). [Sensor] ties one entity's use to its bound.
//
// Invariants: everything here is a function of what was recorded and of the time that is given; a sensor holds at most
// one sample more than its window has. Times are Unix milliseconds; they may stand still but not go back.
//
// Called by node/broker (throttling) and by node (connection rates), which hold the locks. It must never look at a
// clock or keep a table of sensors: how many there may be is for the caller to bound.
package quota
