// How numbers, kinds of heads and decisions are put into words.

export function percent(score) {
  if (score > 0 && score < 0.0005) return "< 0.1%";
  if (score < 1 && score >= 0.9995) return "> 99.9%";
  return `${(score * 100).toFixed(1)}%`;
}

export function wholePercent(share) {
  return `${Number((share * 100).toFixed(1))}%`;
}

export function number(value) {
  return new Intl.NumberFormat("en", { maximumSignificantDigits: 5 }).format(value);
}

export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

export function kindOf(head) {
  const labels = count(head.labels.length, "label");
  const known = {
    multiclass: `one of ${labels}`,
    multilabel: `any of ${labels}`,
    ordinal: `one of ${labels}, in order`,
    regression: "a number",
    count: "a count",
    tokens: `words, ${labels}`,
  };
  return known[head.kind] ?? head.kind;
}

// What a head's decision may do, told before it does: a sentence for each note of its card.
export function rulesOf(head) {
  const decision = head.decision;
  const rules = [];
  if (decision.abstain_below !== undefined)
    rules.push(
      `Abstains when it is unsure${promised(decision.max_error, "of its answers are wrong", "so that at most")}.`,
    );
  if (decision.set_threshold !== undefined)
    rules.push(
      `Gives a set of labels${promised(decision.set_coverage, "of the sets contain the right one", "so that at least")}.`,
    );
  if (decision.costs !== undefined) rules.push("Predicts the label with the least expected cost.");
  if (head.kind === "multilabel")
    rules.push("The tick on each bar is the probability from which on the label is predicted.");
  if (head.kind === "ordinal") rules.push("Predicts the median level, which is not always the most probable one.");
  return rules;
}

function promised(share, what, how) {
  return share === undefined ? "" : `, ${how} ${wholePercent(share)} ${what}`;
}

export function flagOf(flag, maxTokens) {
  const limit = maxTokens === null ? "the model's limit" : `${maxTokens.toLocaleString("en")} tokens`;
  const known = {
    truncated: `The text is longer than ${limit}: only its beginning was read.`,
    empty: "The text is empty, so the answers mean little.",
    split: `The text is longer than ${limit}: it was read in several windows.`,
  };
  return known[flag] ?? "";
}
