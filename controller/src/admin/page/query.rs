//! What a reader of the page asks for, in its address. PURE
//!
//! What makes no sense is taken for what is asked most: an address that somebody kept shows something, whatever it says.

use std::fmt::Write as _;

/// Longer ones are cut: no name has so many.
const LONGEST_FILTER: usize = 200;

/// Which part of all there is, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// Services whose name, frontend, backend or label has this. Empty: all.
    pub(super) filter: String,
    pub(super) order: Order,
    /// From 1.
    pub(super) page: usize,
    /// From 1.
    pub(super) node_page: usize,
}

/// By what services are sorted; numbers from the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Name,
    Active,
    Connections,
    Failed,
    BytesIn,
    BytesOut,
}

/// What an address calls each order.
const ORDERS: [(Order, &str); 6] = [
    (Order::Name, "name"),
    (Order::Active, "active"),
    (Order::Connections, "connections"),
    (Order::Failed, "failed"),
    (Order::BytesIn, "bytes-in"),
    (Order::BytesOut, "bytes-out"),
];

impl Default for Query {
    fn default() -> Self {
        Self {
            filter: String::new(),
            order: Order::Name,
            page: 1,
            node_page: 1,
        }
    }
}

impl Query {
    /// Reads the query of an address.
    pub(super) fn read(query: &str) -> Self {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "filter" => asked.filter = value.trim().chars().take(LONGEST_FILTER).collect(),
                "sort" => {
                    let order = ORDERS.iter().find(|(_, word)| *word == value);
                    asked.order = order.map_or(Order::Name, |(order, _)| *order);
                }
                "page" => asked.page = value.parse().unwrap_or(1).max(1),
                "nodes" => asked.node_page = value.parse().unwrap_or(1).max(1),
                _ => {}
            }
        }
        asked
    }

    /// Writes the address where this is shown.
    pub(super) fn address(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.filter.is_empty() {
            query.append_pair("filter", &self.filter);
        }
        if self.order != Order::Name {
            query.append_pair("sort", self.order.word());
        }
        for (name, page) in [("page", self.page), ("nodes", self.node_page)] {
            if page > 1 {
                query.append_pair(name, &page.to_string());
            }
        }
        let query = query.finish();
        let mut address = "/".to_owned();
        if !query.is_empty() {
            // writing to a String cannot fail
            let _ = write!(address, "?{query}");
        }
        address
    }
}

impl Order {
    /// Gives what an address calls it.
    pub(super) fn word(self) -> &'static str {
        let known = ORDERS.iter().find(|(order, _)| *order == self);
        known.map_or("name", |(_, word)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_was_written() {
        let asked = Query {
            filter: "tier=front & 10.0.0.1".to_owned(),
            order: Order::Failed,
            page: 3,
            node_page: 2,
        };
        let address = asked.address();
        assert_eq!(
            address,
            "/?filter=tier%3Dfront+%26+10.0.0.1&sort=failed&page=3&nodes=2"
        );
        assert_eq!(Query::read(&address[2..]), asked);
        assert_eq!(Query::default().address(), "/");
        assert_eq!(Query::read(""), Query::default());
    }

    #[test]
    fn what_makes_no_sense_is_what_is_asked_most() {
        let asked = Query::read("page=-1&nodes=0&sort=colour&what=ever&filter=%20");
        assert_eq!(asked, Query::default());
        let long = "x".repeat(1_000);
        assert_eq!(
            Query::read(&format!("filter={long}")).filter.len(),
            LONGEST_FILTER
        );
    }

    #[test]
    fn every_order_has_a_word() {
        for (order, word) in ORDERS {
            assert_eq!(Query::read(&format!("sort={word}")).order, order);
        }
    }
}
