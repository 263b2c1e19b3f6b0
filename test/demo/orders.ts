/** The orders of one run of the demo. Every run has its own order numbers and its own stock. */
import { drawByPopulation, type City } from './cities.ts';

export interface Order {
  readonly orderId: string;
  readonly sku: string;
  readonly quantity: number;
  readonly city: City;
  /** `again`: the client sends it twice, and RabbitMQ hands it out twice. */
  readonly sending: 'once' | 'again';
}

/** Many, so that the stock's rows are not one row all orders wait for. */
const skuCount = 200;
export const stockPerSku = 10_000;
/** Every 20th: 5 %. */
const againEvery = 20;

export function skusOf(run: string): readonly string[] {
  return Array.from({ length: skuCount }, (_, index) => `${run}-sku-${String(index + 1).padStart(3, '0')}`);
}

/** @example makeOrders({ run: 'demo-1', count: 3, cities, random: Math.random })[0].orderId // 'demo-1-1' */
export function makeOrders(wish: {
  readonly run: string;
  readonly count: number;
  readonly cities: readonly City[];
  readonly random: () => number;
}): readonly Order[] {
  const { run, count, cities, random } = wish;
  const draw = drawByPopulation(cities, random);
  const skus = skusOf(run);
  return Array.from({ length: count }, (_, index) => ({
    orderId: `${run}-${index + 1}`,
    sku: skus[Math.floor(random() * skus.length)] ?? '',
    quantity: 1 + Math.floor(random() * 3),
    city: draw(),
    sending: index % againEvery === againEvery - 1 ? 'again' : 'once',
  }));
}

/** The body published for it. */
export function bodyOf({ orderId, sku, quantity, city }: Order): string {
  return JSON.stringify({ orderId, sku, quantity, city: city.name });
}
