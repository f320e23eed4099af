//! One request from head to answer: gate, then forward, then record. The only file that knows the whole order.
