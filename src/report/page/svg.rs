//! The little of SVG that the pictures need: a scale, and a frame that tells a screen reader what it
//! shows.

use maud::{Markup, html};

/// A picture of this size with a title and a description.
pub(super) fn frame(
    id: &str,
    title: &str,
    told: &str,
    size: (f64, f64),
    inside: &Markup,
) -> Markup {
    let (width, height) = size;
    html! {
        div.scroll tabindex="0" role="group" aria-label=(title) {
            svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox={ "0 0 " (width) " " (height) }
                width=(width) height=(height)
                aria-labelledby={ (id) "-t " (id) "-d" } {
                title id={ (id) "-t" } { (title) }
                desc id={ (id) "-d" } { (told) }
                (inside)
            }
        }
    }
}

/// From a range of values to a range of places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: (f64, f64),
    to: (f64, f64),
}

impl Scale {
    pub(super) fn new(from: (f64, f64), to: (f64, f64)) -> Self {
        Self { from, to }
    }

    /// Where a value is, rounded to a tenth; a range of nothing puts all at its beginning.
    pub(super) fn at(self, value: f64) -> f64 {
        let span = self.from.1 - self.from.0;
        let share = if span.abs() < f64::EPSILON {
            0.0
        } else {
            (value - self.from.0) / span
        };
        let place = self.to.0 + share * (self.to.1 - self.to.0);
        (place * 10.0).round() / 10.0
    }
}

/// A width of at least so much that it can be seen.
pub(super) fn wide(from: f64, to: f64) -> f64 {
    ((to - from).max(1.0) * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_linear_and_may_be_turned_over() {
        let scale = Scale::new((0.0, 10.0), (100.0, 0.0));
        assert_eq!(
            (scale.at(0.0), scale.at(5.0), scale.at(10.0)),
            (100.0, 50.0, 0.0)
        );
        assert_eq!(Scale::new((3.0, 3.0), (10.0, 20.0)).at(3.0), 10.0);
    }
}
