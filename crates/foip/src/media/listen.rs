//! Tells speech from fax signals, and makes something like speech.
//!
//! Frames of 20 ms are classed by where their energy lies: in the tones of T.30 (CED, CNG, V.21), in the tones of a
//! telephone network (ringing, busy, information tones), or elsewhere. Speech is loud enough, broad, and lasts.

use std::ops::RangeInclusive;

use crate::rtp::SAMPLES;

/// Where the energy of a fax machine lies before it trains, hertz: CED (T.30 §4.1), V.21 channel 2 (1650 and 1850,
/// with the sidebands of its keying), V.21 channel 1 (980 and 1180) and CNG (1100).
const ANSWER_TONE: RangeInclusive<u16> = 2050..=2150;
const FAX_BANDS: [RangeInclusive<u16>; 2] = [1500..=2000, 950..=1250];
/// Tones of networks, hertz (ITU-T E.180): dial, ringing, busy, special information.
const NETWORK_TONES: [u16; 9] = [350, 400, 425, 440, 480, 620, 950, 1400, 1800];
/// Width of what a frame can tell apart.
const BIN_HZ: usize = 50;
/// Mean square of the quietest frame that counts: about -40 dBm0.
const LOUD: f32 = 250.0 * 250.0;
/// A frame is a signal when so much of its energy lies in one band or in two of the tones.
const TONAL: f32 = 0.75;
/// 1 s of speech.
const SPEECH_FRAMES_MIN: u32 = 50;
/// Of the frames heard so far; a person also listens.
const SPEECH_SHARE_MIN: f32 = 0.2;
/// 0.4 s of CED.
const CED_FRAMES_MIN: u32 = 20;

/// What the far end sounds like before any fax frame has come.
#[derive(Debug, Default)]
pub(super) struct Ear {
    frames: u32,
    speech: u32,
    answer_tone: u32,
}

/// What a frame sounds like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sound {
    Quiet,
    AnswerTone,
    OtherTone,
    Speech,
}

impl Ear {
    /// Hears 20 ms.
    pub(super) fn hear(&mut self, samples: &[i16; SAMPLES]) {
        self.frames = self.frames.saturating_add(1);
        match classify(samples) {
            Sound::Speech => self.speech += 1,
            Sound::AnswerTone => self.answer_tone += 1,
            Sound::Quiet | Sound::OtherTone => {}
        }
    }

    /// Whether something like speech was heard.
    pub(super) fn speech(&self) -> bool {
        self.speech >= SPEECH_FRAMES_MIN && self.speech as f32 >= SPEECH_SHARE_MIN * self.frames as f32
    }

    /// Whether a fax machine's answer tone was heard.
    pub(super) fn answer_tone(&self) -> bool {
        self.answer_tone >= CED_FRAMES_MIN
    }
}

fn classify(samples: &[i16; SAMPLES]) -> Sound {
    let energy: f32 = samples.iter().map(|&sample| f32::from(sample).powi(2)).sum();
    if energy < LOUD * SAMPLES as f32 {
        return Sound::Quiet;
    }
    let share = |hertz: u16| tone_energy(samples, f32::from(hertz)) / energy;
    // Bins of 50 Hz are orthogonal over 20 ms, so that their energies add up.
    let band = |band: &RangeInclusive<u16>| band.clone().step_by(BIN_HZ).map(share).sum::<f32>();
    let mut tones = NETWORK_TONES.map(share);
    tones.sort_by(|a, b| b.total_cmp(a));
    if band(&ANSWER_TONE) > TONAL {
        Sound::AnswerTone
    } else if FAX_BANDS.iter().any(|fax| band(fax) > TONAL) || tones[0] + tones[1] > TONAL {
        Sound::OtherTone
    } else {
        Sound::Speech
    }
}

/// Goertzel's algorithm: the energy of the frame at one frequency, so that a pure tone gives its whole energy.
fn tone_energy(samples: &[i16; SAMPLES], hertz: f32) -> f32 {
    let coefficient = 2.0 * (std::f32::consts::TAU * hertz / 8000.0).cos();
    let (mut last, mut before) = (0.0f32, 0.0f32);
    for &sample in samples {
        (last, before) = (f32::from(sample) + coefficient * last - before, last);
    }
    let power = last * last + before * before - coefficient * last * before;
    2.0 * power / SAMPLES as f32
}

/// Sounds like a person: harmonics of a wandering pitch, shaped like vowels, in syllables with pauses.
#[derive(Debug, Default)]
pub(super) struct Speech {
    frame: u32,
    phase: f32,
}

impl Speech {
    /// The next 20 ms.
    pub(super) fn speak(&mut self) -> [i16; SAMPLES] {
        let seconds = self.frame as f32 * 0.02;
        self.frame += 1;
        // Four syllables a second, and a breath in each three seconds.
        let syllable = (std::f32::consts::TAU * 2.0 * seconds).sin().abs();
        let breath = if seconds % 3.0 > 2.4 { 0.0 } else { 1.0 };
        let pitch = 120.0 + 25.0 * (std::f32::consts::TAU * 0.7 * seconds).sin();
        let formant = 500.0 + 250.0 * (std::f32::consts::TAU * 1.3 * seconds).sin();
        std::array::from_fn(|_| {
            self.phase = (self.phase + pitch / 8000.0).fract();
            let voice: f32 = (1u8..=20)
                .map(|n| {
                    let n = f32::from(n);
                    let distance = ((n * pitch - formant) / 300.0).powi(2);
                    (std::f32::consts::TAU * n * self.phase).sin() * (0.08 + (-distance).exp())
                })
                .sum();
            (voice * syllable * breath * 3000.0) as i16
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tones(tones: &[f32], seconds: f32) -> Vec<[i16; SAMPLES]> {
        let mut at = 0;
        (0..(seconds * 50.0) as u32)
            .map(|_| {
                std::array::from_fn(|_| {
                    at += 1;
                    let time = at as f32 / 8000.0;
                    tones.iter().map(|hertz| 3000.0 * (std::f32::consts::TAU * hertz * time).sin()).sum::<f32>() as i16
                })
            })
            .collect()
    }

    fn check(what: &str, frames: &[[i16; SAMPLES]], speech: bool, answer_tone: bool) {
        let mut ear = Ear::default();
        frames.iter().for_each(|frame| ear.hear(frame));
        assert_eq!((ear.speech(), ear.answer_tone()), (speech, answer_tone), "{what}");
    }

    #[test]
    fn speech_is_told_from_tones_and_silence() {
        let mut person = Speech::default();
        let talk: Vec<_> = (0..250).map(|_| person.speak()).collect();
        // V.21 sends one of two frequencies for each bit of 3.3 ms.
        let mark_and_space: Vec<[i16; SAMPLES]> = (0..150)
            .map(|frame: usize| {
                let mut phase = 0.0f32;
                std::array::from_fn(|i| {
                    let hertz = if ((frame * SAMPLES + i) / 27 * 7).is_multiple_of(3) { 1650.0 } else { 1850.0 };
                    phase += std::f32::consts::TAU * hertz / 8000.0;
                    (3000.0 * phase.sin()) as i16
                })
            })
            .collect();
        check("a person", &talk, true, false);
        check("a person who says one word", &talk[..30], false, false);
        check("CED", &tones(&[2100.0], 3.0), false, true);
        check("CNG", &tones(&[1100.0], 3.0), false, false);
        check("V.21", &mark_and_space, false, false);
        check("European busy", &tones(&[425.0], 3.0), false, false);
        check("American ringing", &tones(&[440.0, 480.0], 3.0), false, false);
        check("silence", &vec![[3; SAMPLES]; 150], false, false);
    }
}
