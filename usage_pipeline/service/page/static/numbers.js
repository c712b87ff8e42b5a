// Exact decimals: whole units of 10^-scale. Tokens and money come here as the API wrote them, and no double is between.

export class Decimal {
  constructor(units, scale = 0) {
    this.units = units;
    this.scale = scale;
  }

  // A text such as "-12.034", a whole number, or null for what nobody tells.
  static of(written) {
    if (written === null || written === undefined) return null;
    if (written instanceof Decimal) return written;
    const found = /^(-?)(\d+)(?:\.(\d+))?$/.exec(String(written));
    if (!found) return null;
    const fraction = found[3] ?? "";
    const units = BigInt(found[2] + fraction);
    return new Decimal(found[1] ? -units : units, fraction.length);
  }

  static zero = new Decimal(0n);

  at(scale) {
    return this.units * 10n ** BigInt(scale - this.scale);
  }

  plus(other) {
    const scale = Math.max(this.scale, other.scale);
    return new Decimal(this.at(scale) + other.at(scale), scale);
  }

  minus(other) {
    return this.plus(new Decimal(-other.units, other.scale));
  }

  times(whole) {
    return new Decimal(this.units * BigInt(whole), this.scale);
  }

  // Divided by a whole number, to so many places, half even.
  over(whole, places) {
    const scale = Math.max(places, this.scale);
    return new Decimal(divided(this.at(scale), BigInt(whole)), scale).rounded(places);
  }

  rounded(places) {
    if (places >= this.scale) return new Decimal(this.at(places), places);
    return new Decimal(divided(this.units, 10n ** BigInt(this.scale - places)), places);
  }

  isZero() {
    return this.units === 0n;
  }

  isNegative() {
    return this.units < 0n;
  }

  // For the height of a bar alone.
  approximate() {
    return Number(this.text());
  }

  text(grouped = false) {
    const digits = (this.units < 0n ? -this.units : this.units).toString().padStart(this.scale + 1, "0");
    const whole = digits.slice(0, digits.length - this.scale);
    const fraction = this.scale ? `.${digits.slice(digits.length - this.scale)}` : "";
    const sign = this.units < 0n ? "-" : "";
    return sign + (grouped ? whole.replace(/\B(?=(\d{3})+$)/g, ",") : whole) + fraction;
  }
}

function divided(units, by) {
  const negative = units < 0n !== by < 0n;
  const [top, bottom] = [units < 0n ? -units : units, by < 0n ? -by : by];
  let quotient = top / bottom;
  const twice = (top % bottom) * 2n;
  if (twice > bottom || (twice === bottom && quotient % 2n === 1n)) quotient += 1n;
  return negative ? -quotient : quotient;
}

export function sum(values) {
  const told = values.filter((value) => value !== null && value !== undefined);
  return told.length ? told.reduce((one, other) => one.plus(other)) : null;
}

export function money(amount) {
  if (amount === null) return "–";
  const shown = amount.rounded(2);
  if (shown.isZero() && !amount.isZero()) return amount.isNegative() ? "> −$0.01" : "< $0.01";
  return shown.isNegative() ? `−$${shown.text(true).slice(1)}` : `$${shown.text(true)}`;
}

export function exactMoney(amount) {
  return amount === null ? "not known" : `${amount.text(true)} US dollars`;
}

export function count(amount) {
  return amount === null ? "–" : amount.text(true).replace("-", "−");
}

// A part of a whole as "12.3 %"; empty where there is no whole.
export function share(part, whole) {
  if (part === null || whole === null || whole.isZero()) return "";
  const scale = Math.max(part.scale, whole.scale);
  const permille = new Decimal(divided(part.at(scale) * 1000n, whole.at(scale)), 1);
  return permille.isZero() && !part.isZero() ? "< 0.1 %" : `${permille.text()} %`;
}

export function fraction(part, whole) {
  if (part === null || whole === null || whole.isZero()) return 0;
  const scale = Math.max(part.scale, whole.scale);
  return Number((part.at(scale) * 1_000_000n) / whole.at(scale)) / 1_000_000;
}

// A short form for axes alone.
export function short(value) {
  const size = Math.abs(value);
  for (const [least, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= least) return `${trimmed(value / least)} ${letter}`;
  }
  return trimmed(value);
}

function trimmed(value) {
  return String(Number(value.toPrecision(3)));
}

// JSON whose whole numbers beyond what a double holds arrive as texts of digits.
export function exactJson(text) {
  return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/g, (found) => (found[0] === '"' ? found : `"${found}"`)));
}
