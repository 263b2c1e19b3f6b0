/** How many messages a second hosts take, as each says with its heartbeat, and SETs, as the prober adds it up. */
export const setRates = `
ALTER TABLE host ADD COLUMN rate double precision;
ALTER TABLE set_health ADD COLUMN rate double precision;
`;
